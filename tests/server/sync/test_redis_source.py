"""What is published reaches a host through a real Redis, by each of three ways alone, and whatever happens to Redis."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from server.state.records import Published
from server.sync import redis_relay, redis_source
from server.sync.redis_client import RedisClient, parse_address
from server.sync.redis_keys import CHANGES, DOORBELL, LISTING, OWNER, record_key, snapshot_key
from server.sync.replica import FetchError
from server.types import ProjectId
from tests.server.sync.redis_world import NEVER, RELAY_PACE, SOURCE_PACE, WEB, World, compiled, until, world
from tests.services import RedisServer

ONLY_DOORBELL = redis_source.Pace(stream=NEVER, listing=NEVER)
ONLY_STREAM = redis_source.Pace(stream=(0.1, 0.2), listing=NEVER)
ONLY_LISTING = redis_source.Pace(stream=NEVER, listing=(0.2, 0.4))
NO_COMPARISON = redis_relay.Pace(outbox=(0.1, 0.2), comparison=NEVER)


async def ready(here: World) -> int:
    """A first record is there, and all three ways are open where they are not cut."""
    number = await here.origin.publish(WEB, "zero")
    await here.host.has(WEB, number, "zero")
    return number


def test_the_doorbell_alone_is_enough(tmp_path: Path, redis_url: str) -> None:
    async def run() -> None:
        async with world(tmp_path, redis_url, source_pace=ONLY_DOORBELL, relay_pace=NO_COMPARISON) as here:
            await until(lambda: listened_to(here.redis))
            await here.origin.publish(WEB, "zero")
            for word in ("one", "two", "three"):
                await here.host.has(WEB, await here.origin.publish(WEB, word), word)
            assert here.host.count("burgee_redis_doorbells_total") >= 3

    asyncio.run(run())


async def listened_to(redis: RedisClient) -> bool:
    [_, count] = await redis.ask("PUBSUB", "NUMSUB", DOORBELL)
    return bool(count)


def deaf(url: str, *refused: str) -> str:
    """The URL of a user who may not do these, and need not be told so at every turn."""
    return url.replace("redis://", "redis://deaf:deaf@")


@pytest.mark.parametrize("pace", [ONLY_STREAM, ONLY_LISTING], ids=["stream", "listing"])
def test_the_stream_or_the_listing_alone_is_enough(
    tmp_path: Path, own_redis: RedisServer, pace: redis_source.Pace
) -> None:
    async def run() -> None:
        admin = RedisClient(parse_address(own_redis.url))
        await admin.ask("ACL", "SETUSER", "deaf", "on", ">deaf", "~burgee:*", "+@all", "resetchannels", "-subscribe")
        async with world(tmp_path, own_redis.url, source_url=deaf(own_redis.url), source_pace=pace) as here:
            await until(lambda: here.host.count("burgee_redis_failures_total", what="doorbell") > 0)
            if pace is ONLY_STREAM:
                await until(lambda: here.source._position is not None)
            for word in ("one", "two", "three"):
                await here.host.has(WEB, await here.origin.publish(WEB, word), word)
            assert here.host.count("burgee_redis_doorbells_total") == 0
        await admin.close()

    asyncio.run(run())


def test_a_change_whose_publisher_died_before_telling_is_told_of(tmp_path: Path, redis_url: str) -> None:
    async def run() -> None:
        async with world(tmp_path, redis_url) as here:
            await here.host.has(WEB, await here.origin.publish(WEB, "one", tell=False), "one")

    asyncio.run(run())


def test_a_redis_that_is_killed_comes_back_empty_and_is_full_again(tmp_path: Path, own_redis: RedisServer) -> None:
    async def run() -> None:
        async with world(tmp_path, own_redis.url) as here:
            await ready(here)
            await asyncio.to_thread(own_redis.kill)
            number = await here.origin.publish(WEB, "one")
            await until(lambda: (here.counts.get_sample_value("burgee_relay_failures_total") or 0) > 0)
            await until(lambda: here.host.count("burgee_redis_failures_total", what="listing") > 0)
            assert here.host.word(WEB) == "zero" and here.counts.get_sample_value("burgee_relay_lag_seconds")
            await asyncio.to_thread(own_redis.start)
            await here.host.has(WEB, number, "one")
            await until(lambda: here.counts.get_sample_value("burgee_relay_lag_seconds") == 0)

    asyncio.run(run())


def test_a_redis_that_is_flushed_takes_nothing_away(tmp_path: Path, redis_url: str) -> None:
    async def run() -> None:
        async with world(tmp_path, redis_url) as here:
            number = await ready(here)
            await here.redis.ask("FLUSHALL")
            await until(lambda: present(here.redis, LISTING, OWNER, record_key(WEB)))
            assert (here.host.number(WEB), here.host.word(WEB)) == (number, "zero")
            await here.host.has(WEB, await here.origin.publish(WEB, "one"), "one")
            assert here.host.installed == [(WEB, 1), (WEB, 2)]

    asyncio.run(run())


async def present(redis: RedisClient, *keys: str) -> bool:
    return all([await redis.ask("EXISTS", each) for each in keys])


def test_a_redis_that_is_replaced_by_older_data_takes_nobody_back(tmp_path: Path, own_redis: RedisServer) -> None:
    async def run() -> None:
        async with world(tmp_path, own_redis.url) as here:
            await ready(here)
            await here.redis.ask("SAVE")
            older = own_redis.folder / "older.rdb"
            shutil.copy(own_redis.folder / "dump.rdb", older)
            for word in ("one", "two"):
                await here.host.has(WEB, await here.origin.publish(WEB, word), word)
            await asyncio.to_thread(own_redis.kill)
            older.replace(own_redis.folder / "dump.rdb")
            await asyncio.to_thread(own_redis.start)
            await until(lambda: listed_as(here.redis, b"3"))
            assert (here.host.number(WEB), here.host.word(WEB)) == (3, "two")
            await here.host.has(WEB, await here.origin.publish(WEB, "three"), "three")
            assert [number for _, number in here.host.installed] == [1, 2, 3, 4]

    asyncio.run(run())


async def listed_as(redis: RedisClient, number: bytes) -> bool:
    return bool(await redis.ask("HGET", LISTING, str(WEB)) == number)


def test_a_redis_that_is_stopped_for_a_while_delays_and_loses_nothing(tmp_path: Path, own_redis: RedisServer) -> None:
    async def run() -> None:
        async with world(tmp_path, own_redis.url) as here:
            await ready(here)
            own_redis.pause()
            number = await here.origin.publish(WEB, "one")
            failures = here.host.count("burgee_redis_failures_total", what="listing")
            await until(lambda: here.host.count("burgee_redis_failures_total", what="listing") > failures)
            assert here.host.word(WEB) == "zero"
            own_redis.resume()
            await here.host.has(WEB, number, "one")

    asyncio.run(run())


@pytest.mark.slow
def test_a_doorbell_that_is_silent_is_found_out(tmp_path: Path, own_redis: RedisServer) -> None:
    """Half open: the connections stay, and nothing comes. Nothing else would notice, since the others are cut."""

    async def run() -> None:
        async with world(tmp_path, own_redis.url, source_pace=ONLY_DOORBELL) as here:
            await until(lambda: listened_to(here.redis))
            own_redis.pause()
            since = time.monotonic()
            await until(lambda: here.host.count("burgee_redis_failures_total", what="doorbell") > 0)
            assert time.monotonic() - since >= redis_source.LISTEN_FOR  # not by any answer
            own_redis.resume()

    asyncio.run(run())


def test_a_trimmed_stream_and_lost_connections_cost_nothing(tmp_path: Path, redis_url: str) -> None:
    async def run() -> None:
        async with world(tmp_path, redis_url) as here:
            await ready(here)
            for word in ("one", "two", "three", "four"):
                number = await here.origin.publish(WEB, word)
                await here.redis.ask("XTRIM", CHANGES, "MAXLEN", 0)
                await here.redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
                await here.host.has(WEB, number, word)
            await here.redis.ask("DEL", CHANGES)
            await until(lambda: here.host.count("burgee_redis_stream_gaps_total") > 0)
            await here.host.has(WEB, await here.origin.publish(WEB, "five"), "five")

    asyncio.run(run())


def test_what_redis_lacks_comes_from_elsewhere(tmp_path: Path, redis_url: str) -> None:
    asked: list[str] = []

    async def elsewhere(project: ProjectId, published: Published) -> bytes:
        asked.append(published.digest)
        if len(asked) == 1:
            raise FetchError("not yet")
        return compiled("one")

    async def run() -> None:
        pace = redis_source.Pace(stream=NEVER, listing=(0.2, 0.4))
        async with world(tmp_path, redis_url, relay_pace=NO_COMPARISON, source_pace=pace, elsewhere=elsewhere) as here:
            number = await here.origin.publish(WEB, "one", tell=False)
            [published] = (await here.origin.record_of(WEB)).environments
            await here.redis.ask("SET", snapshot_key("shop", published.digest), b"damaged")
            await here.host.has(WEB, number, "one")
            assert len(asked) >= 2 and here.host.count("burgee_redis_refused_total", reason="snapshot_unreadable") >= 1
            await here.redis.ask("DEL", record_key(WEB))
            await here.redis.ask("HSET", LISTING, str(WEB), number + 1)
            await until(here.host.replica.look.is_set)  # the other source is to compare

    asyncio.run(run())


def test_numbers_of_another_record_are_not_taken(tmp_path: Path, redis_url: str) -> None:
    async def run() -> None:
        async with world(tmp_path, redis_url) as here:
            number = await ready(here)
            await here.redis.ask("SET", OWNER, "another")
            await here.redis.ask("HSET", LISTING, str(WEB), 99)
            await until(lambda: here.host.count("burgee_redis_failures_total", what="listing") > 0)
            await here.origin.publish(WEB, "one")
            await asyncio.sleep(0.5)
            assert (here.host.number(WEB), here.host.word(WEB)) == (number, "zero")

    asyncio.run(run())


def test_the_users_that_the_manual_names_may_do_what_they_must(tmp_path: Path, own_redis: RedisServer) -> None:
    manual = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    users = [line.split()[1:] for line in manual.splitlines() if line.startswith("    user ")]
    assert {each[0] for each in users} == {"burgee-relay", "burgee-host"}

    async def run() -> None:
        admin = RedisClient(parse_address(own_redis.url))
        modern = int((await admin.ask("INFO", "server"))["redis_version"].split(".")[0]) >= 7
        for name, *rules in users:
            await admin.ask("ACL", "SETUSER", name, *(each if modern else each.replace("%R~", "~") for each in rules))
        relay, host = (
            own_redis.url.replace("redis://", f"redis://{name}:{password}@")
            for name, password in (("burgee-relay", "…"), ("burgee-host", "…"))
        )
        async with world(tmp_path, relay, source_url=host, relay_pace=RELAY_PACE, source_pace=SOURCE_PACE) as here:
            await ready(here)
            await until(lambda: here.host.count("burgee_redis_up") == 1)
            await admin.ask("FLUSHALL")
            await here.host.has(WEB, await here.origin.publish(WEB, "one"), "one")
            await until(lambda: present(admin, LISTING, OWNER, CHANGES, record_key(WEB)))
            assert here.counts.get_sample_value("burgee_relay_failures_total") == 0
            assert not any(here.host.count("burgee_redis_failures_total", what=each) for each in WAYS)
        await admin.close()

    asyncio.run(run())


WAYS = ("listing", "stream", "doorbell", "record", "snapshot")
