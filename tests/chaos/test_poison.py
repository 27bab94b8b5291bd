"""Somebody else writes to Redis: snapshots and records that are mutated in every way. None is installed, none crashes.

Each has a number above all that is there, so that it is wanted; and each is rung for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import msgspec
import zstandard
from redis import Redis

from server.state.records import ProjectRecord, Published
from server.sync.messages import decode_record, encode_record
from server.sync.redis_keys import DOORBELL, LISTING, record_key, snapshot_key
from server.types import ProjectId
from tests.chaos.history import violations
from tests.chaos.host import Host, scaled, until
from tests.chaos.world import World

MUTANTS = scaled(300, 10_000)
AT_ONCE = 25
MOST = 15  # of these: some are refused without a count of their own, as what is not there
REAL = ProjectId("shop", "web")
FAR_AWAY = 1 << 40  # numbers that the relay will not come to


def of_a_snapshot(dice: random.Random, blob: bytes) -> bytes:
    """The bytes of a good one with something wrong: never the ones that were there."""
    at, length = dice.randrange(len(blob)), dice.randrange(1, 64)
    kind = dice.randrange(8)
    if kind == 0:
        return blob[:at]
    if kind == 1:
        return blob[:at] + bytes([blob[at] ^ (1 << dice.randrange(8))]) + blob[at + 1 :]
    if kind == 2:
        return blob[:at] + dice.randbytes(length) + blob[at + length :]
    if kind == 3:
        return blob[:at] + blob[at + length :] + bytes(min(length, len(blob) - at))
    if kind == 4:
        return blob + dice.randbytes(length)
    if kind == 5:
        return bytes(len(blob))
    if kind == 6:
        return dice.randbytes(len(blob))
    other = dice.randrange(len(blob))
    first, second = sorted((at, other))
    return blob[second:] + blob[first:second] + blob[:first] if first != second else blob[:-1]


def in_zstd(dice: random.Random, content: bytes) -> bytes:
    kind = dice.randrange(10)
    packed = zstandard.compress(content)
    if kind == 0:
        return content
    if kind == 1:
        return packed[: len(packed) // 2]
    if kind == 2:
        return zstandard.compress(bytes(64 << 20))  # a bomb
    if kind == 3:
        return b""
    return packed


def of_a_record(dice: random.Random, record: ProjectRecord) -> bytes:
    body = encode_record(record)
    kind = dice.randrange(12)
    if kind == 0:
        at = dice.randrange(len(body))
        return body[:at] + bytes([body[at] ^ (1 << dice.randrange(8))]) + body[at + 1 :]
    if kind == 1:
        return body[: dice.randrange(len(body))]
    if kind == 2:
        return dice.randbytes(200)
    if kind == 3:
        return msgspec.msgpack.encode({"tenant": "shop"})
    if kind == 4:
        return encode_record(msgspec.structs.replace(record, tenant="../../../etc"))
    return body


def poisoned(client: Redis, blob: bytes, good: ProjectRecord) -> Iterator[None]:
    """A pause after each AT_ONCE. Digests are those of nothing, so that what is found is what was put there."""
    dice, (real,) = random.Random(4), good.environments
    for number in range(MUTANTS):
        project = REAL if number % AT_ONCE == 0 else ProjectId("shop", f"poison-{number % AT_ONCE}")
        mutated = of_a_snapshot(dice, blob)
        size = len(mutated) if dice.random() < 0.8 else dice.choice([1, real.size, 1 << 28])
        version, digest = real.version + 1 + number, f"{dice.getrandbits(256):064x}"
        bad = Published("production", version, digest, size, real.flags, time.time())
        record = ProjectRecord(*project, environments=(bad,), keys=good.keys, version=FAR_AWAY + number)
        with client.pipeline(transaction=True) as pipe:
            if dice.random() < 0.95:  # or it is not there at all
                pipe.set(snapshot_key(project.tenant, digest), in_zstd(dice, mutated))
            pipe.hset(record_key(project), mapping={"number": str(record.version), "body": of_a_record(dice, record)})
            pipe.hset(LISTING, str(project), str(record.version))
            pipe.publish(DOORBELL, f"{project} {record.version}")
            pipe.execute()
        if number % AT_ONCE == AT_ONCE - 1:
            yield


def refusals(host: Host) -> float:
    return host.metric("burgee_sync_refused_total") + host.metric("burgee_redis_refused_total")


def test_poisoned_snapshots_are_refused_one_by_one(through_redis: World) -> None:
    it = through_redis
    assert it.redis is not None
    far = it.hosts[-1]
    agents = {host.name: host.slots("burgee-agent") for host in it.hosts}
    with Redis.from_url(it.redis.url) as client, it.run(publishing=False) as history:
        body = client.hget(record_key(REAL), "body")
        assert isinstance(body, bytes)
        good = decode_record(body)
        packed = client.get(snapshot_key(REAL.tenant, good.environments[0].digest))
        assert isinstance(packed, bytes)
        blob = zstandard.decompress(packed, max_output_size=1 << 28)
        before = seen = refusals(far)
        for _ in poisoned(client, blob, good):
            until(lambda seen=seen: refusals(far) >= seen + MOST, "they are looked at")  # type: ignore[misc]
            seen = refusals(far)
        looked_at = refusals(far) - before
        client.flushall()  # what is good comes again
    assert violations(history) == []
    assert agents == {host.name: host.slots("burgee-agent") for host in it.hosts}, "an agent ended"
    rows = {each["environment"] for host in it.hosts for each in host.status()["environments"] if each.get("version")}
    assert rows == {"shop/web/production"}, "one was installed"
    assert looked_at >= MUTANTS * MOST / AT_ONCE
    with it.run() as history:
        time.sleep(0.5)
    assert violations(history) == [], "all goes on as before"
    print(f"\n{MUTANTS} mutants: {looked_at:.0f} refusals on `{far.name}`, none installed")
