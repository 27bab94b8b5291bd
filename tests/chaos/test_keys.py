"""A key that is revoked opens nothing any more, on any host, whatever an older disk still says."""

from __future__ import annotations

import shutil
import time

from tests.chaos.generations import asked
from tests.chaos.host import until
from tests.chaos.world import World
from tests.server.running import request_of

KEYS = "/api/v1/tenants/shop/keys"


def test_a_revoked_key_is_not_resurrected_by_an_old_disk(embedded: World) -> None:
    it = embedded
    far = it.hosts[-1]
    publisher = it.publisher()
    status, _, made = publisher.ask(
        "POST", KEYS, {"kind": "server", "project": "web", "environments": ["production"], "name": "to be revoked"}
    )
    assert status == 201, made

    def statuses() -> set[int]:
        """Of each host; over several connections, so of each worker."""
        headers = {"Authorization": f"Bearer {made['key']}", "Content-Type": "application/json"}
        addresses = [f"http://{name}:{port}" for name, port in (host.data_address for host in it.hosts)]
        return {request_of(each, "POST", "/v1/evaluate", asked(1), headers).status for each in addresses * 8}

    until(lambda: statuses() == {200}, "it works everywhere")
    older = it.folder / "older-state"
    shutil.copytree(far.state, older, ignore=lambda _, names: [each for each in names if each.endswith(".sock")])
    status, headers, _ = publisher.ask("GET", f"{KEYS}/{made['selector']}")
    since = time.monotonic()
    status, _, answer = publisher.ask("POST", f"{KEYS}/{made['selector']}/revoke", None, {"If-Match": headers["ETag"]})
    assert status in (200, 204), answer
    until(lambda: statuses() == {401}, "it is refused everywhere")
    print(f"\nrevoked: refused by every worker after {time.monotonic() - since:.3f} s")

    far.stop()
    shutil.rmtree(far.state)
    shutil.move(older, far.state)
    since = time.monotonic()
    far.start()
    print(f"an older disk: ready after {time.monotonic() - since:.2f} s, and the key is refused")
    assert statuses() == {401}
