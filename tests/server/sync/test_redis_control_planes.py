"""Two control planes on one Postgres and one Redis, each with a relay, publishers on both, and a host behind each."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from server.record.outbox import look_into
from server.record.versions import StaleError
from server.sync.messages import decode_record
from server.sync.redis_keys import LISTING, record_key
from server.sync.redis_relay import RedisRelay
from server.types import ProjectId
from tests.server.sync.redis_world import RELAY_PACE, Host, Origin, World, until, world
from tests.services import RedisServer

PROJECTS = tuple(ProjectId(f"tenant-{index}", "web") for index in range(4))
PUBLISHES = 15  # of each publisher


async def publishing(origin: Origin, chance: random.Random, name: str) -> None:
    for count in range(PUBLISHES):
        with contextlib.suppress(StaleError):  # another was quicker
            # One in five dies between the commit and telling.
            await origin.publish(chance.choice(PROJECTS), f"{name}{count % 5}", tell=chance.random() > 0.2)
        await asyncio.sleep(chance.random() / 20)


async def dying(here: World) -> None:
    """Relays of that control plane that live for a moment only, each ended in the middle of whatever it does."""
    while True:
        relay = RedisRelay(here.origin.record, here.origin.feed, here.redis, CollectorRegistry(), RELAY_PACE)
        task = asyncio.create_task(relay.run())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    "fault", ["flushed", pytest.param("none", marks=pytest.mark.slow), pytest.param("killed", marks=pytest.mark.slow)]
)
def test_all_of_it_arrives_in_order(tmp_path: Path, postgres_url: str, own_redis: RedisServer, fault: str) -> None:
    async def disturb(here: World) -> None:
        for _ in range(2):
            await asyncio.sleep(0.2)
            if fault == "flushed":
                await here.redis.ask("FLUSHALL")
            elif fault == "killed":
                await asyncio.to_thread(own_redis.kill)
                await asyncio.sleep(0.2)
                await asyncio.to_thread(own_redis.start)

    async def run() -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        async with (
            world(tmp_path / "a", own_redis.url, database=postgres_url, add=PROJECTS) as one,
            world(tmp_path / "b", own_redis.url, database=postgres_url, add=()) as other,
        ):
            ending = asyncio.create_task(dying(one))
            await asyncio.gather(
                publishing(one.origin, random.Random(1), "a"),
                publishing(other.origin, random.Random(2), "b"),
                publishing(other.origin, random.Random(3), "c"),
                disturb(one),
            )
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
            for project in PROJECTS:
                record = await one.origin.record_of(project)
                for host in (one.host, other.host):
                    await until(lambda host=host, record=record: host.store.record(record.id) == record)  # type: ignore[misc]
                    assert_in_order(host)
            await until(lambda: outbox_is_empty(one.origin))
            for each in (one, other):
                assert each.counts.get_sample_value("burgee_relay_ahead") == 0
                assert each.counts.get_sample_value("burgee_relay_conflicts_total") == 0
            await until(lambda: redis_is_the_record(one))

    asyncio.run(run())


def assert_in_order(host: Host) -> None:
    numbers = defaultdict(list)
    for project, number in host.installed:
        numbers[project].append(number)
    assert all(each == sorted(set(each)) for each in numbers.values())


async def outbox_is_empty(origin: Origin) -> bool:
    async with origin.record.look() as tx:
        return (await look_into(tx, 1)).count == 0


async def redis_is_the_record(here: World) -> bool:
    for project in PROJECTS:
        record = await here.origin.record_of(project)
        body = await here.redis.ask("HGET", record_key(project), "body")
        listed = await here.redis.ask("HGET", LISTING, str(project))
        if body is None or decode_record(body) != record or listed != b"%d" % record.version:
            return False
    return True
