"""Through Sentinel with a fail-over, and through a cluster: the same as through one server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.record.outbox import look_into
from server.sync import redis_source
from server.types import ProjectId
from tests.server.sync.redis_deployments import cluster, sentinels
from tests.server.sync.redis_world import NEVER, WEB, World, until, world

TENANTS = tuple(ProjectId(f"tenant-{index}", "web") for index in range(12))


@pytest.mark.slow
def test_a_fail_over_loses_nothing(tmp_path: Path) -> None:
    with sentinels() as those:

        async def run() -> None:
            async with world(tmp_path, those.address) as here:
                for word in ("one", "two"):
                    await here.host.has(WEB, await here.origin.publish(WEB, word), word)
                await asyncio.to_thread(those.servers[0].kill)
                number = await here.origin.publish(WEB, "three")
                await here.host.has(WEB, number, "three")  # as soon as there is a master again
                assert those.ask(1, "ROLE")[0] == b"master"  # type: ignore[index]
                await asyncio.to_thread(those.servers[0].start)  # empty; it becomes the replica
                await here.host.has(WEB, await here.origin.publish(WEB, "four"), "four")
                await emptied(here)
                assert [number for _, number in here.host.installed] == [1, 2, 3, 4]

        asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("way", ["all", "doorbell"])
def test_a_cluster_spreads_tenants_and_heals(tmp_path: Path, way: str) -> None:
    pace = redis_source.Pace(stream=NEVER, listing=NEVER) if way == "doorbell" else None
    with cluster() as those:

        async def run() -> None:
            options = {"source_pace": pace} if pace else {}
            async with world(tmp_path, those.address, add=TENANTS, **options) as here:  # type: ignore[arg-type]
                await here.host.has(TENANTS[0], await here.origin.publish(TENANTS[0], "zero"), "zero")
                for each in TENANTS:
                    await here.origin.publish(each, "one")
                for each in TENANTS:
                    await here.host.has(each, 2 if each == TENANTS[0] else 1, "one")
                held = [those.keys(index) for index in range(3)]
                assert all(held) and sum(held) >= 2 * len(TENANTS)
                if way == "doorbell":
                    return
                for index in range(3):
                    those.ask(index, "FLUSHALL")
                old = 1  # the snapshot of `zero` does not come back
                await until(lambda: sum(map(those.keys, range(3))) == sum(held) - old)
                await asyncio.to_thread(those.servers[1].kill)
                numbers = {each: await here.origin.publish(each, "two") for each in TENANTS}
                await until(lambda: (here.counts.get_sample_value("burgee_relay_failures_total") or 0) > 0)
                await asyncio.to_thread(those.servers[1].start)
                for each, number in numbers.items():
                    await here.host.has(each, number, "two")
                await emptied(here)

        asyncio.run(run())


async def emptied(here: World) -> None:
    async def is_empty() -> bool:
        async with here.origin.record.look() as tx:
            return (await look_into(tx, 1)).count == 0

    await until(is_empty)
