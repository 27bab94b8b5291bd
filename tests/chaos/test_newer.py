"""A host of this version beside a newer control plane: what it does not know it passes over, or keeps what it has."""

from __future__ import annotations

import time

from tests.chaos.history import violations
from tests.chaos.host import until
from tests.chaos.relay import relay
from tests.chaos.world import World, probe


def test_a_host_beside_a_newer_control_plane(embedded: World) -> None:
    it = embedded
    with relay(it.control_port) as between:
        between.newer_records = True
        host = it.host("older", upstream=between.url, workers=1)
        with it.started(host):
            with it.run() as history:
                time.sleep(1)
            assert violations(history) == []
            between.newer_snapshots = True
            had = it.newest()
            publisher = it.publisher()
            for _ in range(2):
                publisher.publish(it.published[-1].generation + 1)
            until(lambda: "format" in str(host.status()["environments"][0]["lastError"]), "/status says why")
            seen = probe(host, it.server_key)
            assert seen is not None and {each.version for each in seen} == {had}, "last-known-good"
            host.kill_worker(0)
            seen = until(lambda: probe(host, it.server_key), "another worker")
            assert seen is not None and {each.version for each in seen} == {had}
            between.newer_snapshots = False
            with it.run() as history:
                time.sleep(1)
            assert violations(history) == []
