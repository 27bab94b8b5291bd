"""The relay against a real Redis: what it writes, in which order of importance, and what it never replaces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import zstandard
from prometheus_client import CollectorRegistry
from sqlalchemy import update

from engine import Snapshot
from server.record.database import RecordError
from server.record.outbox import OLD, forget_old, look_into
from server.record.tables import outbox
from server.sync.messages import decode_record, encode_record
from server.sync.redis_client import RedisClient, parse_address
from server.sync.redis_keys import CHANGES, LISTING, OWNER, SNAPSHOT_EXPIRES, record_key, snapshot_key
from server.sync.redis_relay import RedisRelay
from server.types import ProjectId
from tests.server.sync.redis_world import WEB, Origin, running, until

API = ProjectId("shop", "api")
BANK = ProjectId("bank", "web")


class Relaying:
    """A record and a relay whose rounds the test runs."""

    def __init__(self, origin: Origin, redis: RedisClient) -> None:
        self.origin, self.redis, self.counts = origin, redis, CollectorRegistry()
        self.relay = RedisRelay(origin.record, origin.feed, redis, self.counts)

    def count(self, name: str, **labels: str) -> float:
        return self.counts.get_sample_value(name, labels) or 0.0

    async def waiting(self) -> int:
        async with self.origin.record.look() as tx:
            return (await look_into(tx, 10)).count


def relaying(folder: Path, url: str, test: Callable[[Relaying], Awaitable[None]]) -> None:
    async def run() -> None:
        origin = await Origin.open(f"sqlite:///{folder / 'record.db'}")
        redis = RedisClient(parse_address(url))
        try:
            await origin.add(WEB, API, BANK)
            await test(Relaying(origin, redis))
        finally:
            await redis.close()
            await origin.record.close()

    asyncio.run(run())


def test_a_publish_is_in_redis_whole_and_the_outbox_is_empty(tmp_path: Path, redis_url: str) -> None:
    async def test(here: Relaying) -> None:
        await here.origin.publish(WEB, "one")
        number = await here.origin.publish(WEB, "two")
        assert await here.waiting() == 2
        await here.relay.drain()
        assert await here.waiting() == 0 and here.count("burgee_relay_outbox") == 0
        record = decode_record(await here.redis.ask("HGET", record_key(WEB), "body"))
        assert record == await here.origin.record_of(WEB) and record.version == number
        [published] = record.environments
        packed = await here.redis.ask("GET", snapshot_key("shop", published.digest))
        assert Snapshot.from_bytes(zstandard.decompress(packed)).digest == published.digest
        assert 0 < await here.redis.ask("TTL", snapshot_key("shop", published.digest)) <= SNAPSHOT_EXPIRES
        assert await here.redis.ask("HGETALL", LISTING) == {b"shop/web": b"%d" % number}
        [(_, entry)] = await here.redis.ask("XRANGE", CHANGES, "-", "+")
        assert entry == {b"project": b"shop/web", b"number": b"%d" % number}

    relaying(tmp_path, redis_url, test)


def test_what_redis_lost_or_has_older_comes_back(tmp_path: Path, redis_url: str) -> None:
    async def test(here: Relaying) -> None:
        for project in (WEB, API, BANK):
            await here.origin.publish(project, "one")
        await here.relay.drain()
        old = await here.redis.ask("HGETALL", record_key(WEB))
        number = await here.origin.publish(WEB, "two")
        await here.relay.drain()
        whole = await contents(here.redis)

        await here.redis.ask("FLUSHALL")
        await here.relay.compare()
        assert await contents(here.redis) == whole

        await here.redis.ask("HSET", record_key(WEB), "number", old[b"number"], "body", old[b"body"])
        await here.redis.ask("HSET", LISTING, "shop/web", old[b"number"])
        await here.relay.compare()
        assert await contents(here.redis) == whole

        [published] = (await here.origin.record_of(WEB)).environments
        for lost in (record_key(WEB), snapshot_key("shop", published.digest)):
            await here.redis.ask("DEL", lost)  # evicted, say: the listing still has it
            await here.relay.compare()
            assert await contents(here.redis) == whole, lost
        assert number == 2 and here.count("burgee_relay_ahead") == 0

    relaying(tmp_path, redis_url, test)


async def contents(redis: RedisClient) -> dict[bytes, object]:
    found = {}
    for key in sorted(await redis.ask("KEYS", "burgee:*")):
        kind = await redis.ask("TYPE", key)
        if kind != b"stream":
            found[key] = await redis.ask("HGETALL" if kind == b"hash" else "GET", key)
    return found


def test_a_higher_number_in_redis_is_an_alarm_and_stays(tmp_path: Path, redis_url: str) -> None:
    async def test(here: Relaying) -> None:
        await here.origin.publish(WEB, "one")
        await here.relay.drain()
        record = await here.origin.record_of(WEB)
        future = encode_record(type(record)("shop", "web", version=99))
        await here.redis.ask("HSET", record_key(WEB), "number", 99, "body", future)
        await here.origin.publish(WEB, "two")
        await here.relay.drain()
        assert here.count("burgee_relay_ahead") == 1
        assert await here.redis.ask("HGET", record_key(WEB), "body") == future
        await here.redis.ask("HSET", LISTING, "shop/web", 99, "no/such", 7)
        await here.relay.compare()
        assert here.count("burgee_relay_ahead") == 2
        assert await here.redis.ask("HGET", LISTING, "shop/web") == b"99"
        await here.redis.ask("DEL", LISTING, record_key(WEB))
        await here.relay.compare()
        assert here.count("burgee_relay_ahead") == 0 and await here.redis.ask("HGET", LISTING, "shop/web") == b"2"

    relaying(tmp_path, redis_url, test)


def test_another_record_with_our_number_is_reported_once_and_stays(tmp_path: Path, redis_url: str) -> None:
    async def test(here: Relaying) -> None:
        await here.origin.publish(WEB, "one")
        other = encode_record(type(await here.origin.record_of(WEB))("shop", "web", version=1))
        await here.redis.ask("HSET", record_key(WEB), "number", 1, "body", other)
        for _ in range(2):
            await here.relay.write([WEB])
        assert here.count("burgee_relay_conflicts_total") == 1
        assert await here.redis.ask("HGET", record_key(WEB), "body") == other

    relaying(tmp_path, redis_url, test)


@pytest.mark.parametrize(
    "damage",
    [
        ("HSET", record_key(WEB), "body", b"\xc1 no record"),
        ("HSET", record_key(WEB), "number", "1e308"),
        ("HSET", record_key(WEB), "number", "-5"),
        ("HDEL", record_key(WEB), "number"),
        ("LISTING", "SET", LISTING, "no hash"),
        ("RECORD", "SET", record_key(WEB), "no hash"),
        ("LISTING", "HSET", LISTING, "shop/web", "nan"),
        ("STREAM", "SET", CHANGES, "no stream"),
        ("STREAM", "XADD", CHANGES, "18446744073709551615-18446744073709551615", "a", "b"),
    ],
)
def test_what_nobody_of_ours_wrote_is_replaced(tmp_path: Path, redis_url: str, damage: tuple[str, ...]) -> None:
    async def test(here: Relaying) -> None:
        await here.origin.publish(WEB, "one")
        await here.relay.drain()
        whole = await contents(here.redis)
        if damage[0] in ("LISTING", "RECORD", "STREAM"):
            if damage[1] == "SET" or damage[0] == "STREAM":
                await here.redis.ask("DEL", damage[2])
            await here.redis.ask(*damage[1:])
        else:
            await here.redis.ask(*damage)
        await here.relay.compare()
        await here.relay.write([WEB])
        assert await contents(here.redis) == whole
        assert await here.redis.ask("XLEN", CHANGES) >= 1 and here.count("burgee_relay_conflicts_total") == 0

    relaying(tmp_path, redis_url, test)


def test_a_redis_of_another_record_is_left_alone(tmp_path: Path, redis_url: str) -> None:
    async def test(here: Relaying) -> None:
        await here.redis.ask("SET", OWNER, "another")
        await here.origin.publish(WEB, "one")
        for do in (here.relay.drain, here.relay.compare):
            with pytest.raises(RecordError, match="belongs to another record"):
                await do()
        assert await contents(here.redis) == {OWNER.encode(): b"another"} and await here.waiting() == 1

    relaying(tmp_path, redis_url, test)


def test_where_nobody_relays_the_outbox_does_not_grow_for_ever(tmp_path: Path, redis_url: str) -> None:
    async def test(here: Relaying) -> None:
        for project in (WEB, API):
            await here.origin.publish(project, "one")
        async with here.origin.record.change() as tx:
            await tx.execute(update(outbox).where(outbox.c.project == "api").values(at=time.time() - OLD - 1))
        async with running(forget_old(here.origin.record)):
            await until(lambda: waiting(here, 1))
        await here.relay.compare()
        assert await here.redis.ask("HLEN", LISTING) == 2

    async def waiting(here: Relaying, count: int) -> bool:
        return await here.waiting() == count

    relaying(tmp_path, redis_url, test)


def test_two_relays_at_once_leave_what_one_would(tmp_path: Path, redis_url: str) -> None:
    async def test(here: Relaying) -> None:
        others = [RedisRelay(here.origin.record, here.origin.feed, here.redis, CollectorRegistry()) for _ in range(3)]
        for word in ("one", "two", "three", "four"):
            for project in (WEB, API, BANK):
                await here.origin.publish(project, word)
            await asyncio.gather(here.relay.drain(), *(each.drain() for each in others), others[0].compare())
        assert await here.waiting() == 0
        for project in (WEB, API, BANK):
            record = await here.origin.record_of(project)
            assert decode_record(await here.redis.ask("HGET", record_key(project), "body")) == record
            assert await here.redis.ask("HGET", LISTING, str(project)) == b"4"
        assert here.count("burgee_relay_ahead") == 0 and here.count("burgee_relay_conflicts_total") == 0

    relaying(tmp_path, redis_url, test)
