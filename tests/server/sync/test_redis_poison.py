"""Whatever is put into Redis by others: nothing of it is installed, nothing crashes, and all of it is counted.

10,000 of them with BURGEE_PROFILE=nightly; a few hundred otherwise.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import os
import random
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from engine import Snapshot
from server.state.records import ProjectRecord, Published
from server.sync.messages import LARGEST_RECORD, encode_record
from server.sync.redis_client import RedisClient, parse_address
from server.sync.redis_keys import LISTING, OWNER, record_key, snapshot_key
from server.sync.redis_source import RedisSource, unpacked
from server.types import ProjectId
from tests.server.sync.redis_world import SOURCE_PACE, Host, compiled, running, until

COUNT = 10_000 if os.environ.get("BURGEE_PROFILE") == "nightly" else 400
GOOD = ProjectId("poison", "good")

NESTED = b"\x91" * 100_000 + b"\x90"

# Where in the record, and what is there instead. [tenant, project, environments, keys, origins, version, …]
MEMBERS: dict[tuple[int, ...], list[Any]] = {
    (0,): [None, "other", 5, "..", [], "poison/x"],
    (1,): [None, "other", 5, "..", {}],
    (2,): [None, 5, "x", {"a": 1}, [None], [[]], [["production"]], [5], b"\xff"],
    (2, 0, 0): [None, "", "..", "a/b", "a\0b", "../../../etc/x", "x" * 129, 7, "é", "a\n"],
    (2, 0, 1): [None, 0, -1, 1 << 62, (1 << 64) - 1, "1", 1.5, []],
    (2, 0, 2): [None, "", "00" * 32, "../../etc/passwd".ljust(64, "x"), "A" * 64, 5, "0" * 63, "é" * 64],
    (2, 0, 3): [None, 0, -1, 1 << 40, 100, "x", 1.5],
    (2, 0, 4): [None, "x", [], 1.5],
    (2, 0, 5): [None, "x", []],
    (3,): [None, 5, [[1]], [[b"short", "s", "server", ["production"]]], [[b"d" * 32, "s", "admin", ["production"]]],
           [[b"d" * 32, "s", "no kind", []]], [[b"d" * 32, None, "server", []]]],
    (4,): [None, [], {"a": 5}, {"a": [5]}, {5: []}],
    (5,): [None, 0, -1, 1 << 62, (1 << 64) - 1, "5", 1.5, []],
    (6,): [None, 5, [5], ["x", "y", 5]],
    (7,): [None, 5, [5], [[None, 2, 3]], [[["production", 9, "x", 1, 1, 1.0], 0.5, 0.0]]],
}  # fmt: skip


def record_of(project: ProjectId, blob: bytes) -> ProjectRecord:
    found = Snapshot.from_bytes(blob)
    return ProjectRecord(*project, (Published("production", 1, found.digest, len(blob), 1, 0.0),), version=1)


def bad_bodies(project: ProjectId, body: bytes, chance: random.Random) -> Iterator[bytes]:
    plain = msgspec.msgpack.decode(body)
    for path, values in MEMBERS.items():
        for value in values:
            changed = copy.deepcopy(plain)
            inner = changed
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = value
            yield msgspec.msgpack.encode(changed)
    twice = copy.deepcopy(plain)
    twice[2] *= 2
    yield from (msgspec.msgpack.encode(twice), NESTED, b"null", b"<html>502</html>", b"\xc1", body[:-1] + b"\xc1")
    yield msgspec.msgpack.encode([*plain[:2], plain[2] * 50_000])
    while True:
        yield body[: chance.randrange(1, len(body))]
        yield chance.randbytes(chance.randrange(1, 300))


def bad_snapshots(blob: bytes, chance: random.Random) -> Iterator[bytes]:
    compress = zstandard.compress
    yield from (
        b"",
        b"no zstd",
        compress(b""),
        compress(blob[:-1]),
        compress(blob + b"\0"),
        compress(compiled("other")),
    )
    yield compress(blob)[:-5]
    yield compress(bytes(len(blob)))
    yield zstandard.ZstdCompressor(write_content_size=False).compress(bytes(50_000_000))  # a bomb
    yield b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + bytes(20)  # promises a terabyte
    while True:
        flipped = bytearray(blob)
        flipped[chance.randrange(len(blob))] ^= 1 << chance.randrange(8)
        yield compress(bytes(flipped))


def test_none_of_it_is_installed_and_all_of_it_is_counted(tmp_path: Path, redis_url: str) -> None:
    blob, chance = compiled("good"), random.Random(7)

    async def run() -> None:
        redis = RedisClient(parse_address(redis_url))
        host = Host(tmp_path / "host")
        await redis.ask("SET", OWNER, "0a" * 8)
        kinds = itertools.cycle((0, 0, 0, 1))
        bodies = bad_bodies(ProjectId("poison", "p"), encode_record(record_of(ProjectId("poison", "p"), blob)), chance)
        snapshots = bad_snapshots(blob, chance)
        for index, kind in zip(range(COUNT), kinds, strict=False):
            project = ProjectId(f"poison-{index}", "p")
            record = record_of(project, blob)
            body, packed = encode_record(record), zstandard.compress(blob)
            if kind == 0:
                body = renamed(next(bodies), project)
            else:
                packed = next(snapshots)
            await asyncio.gather(
                redis.ask("HSET", record_key(project), "number", 1, "body", body),
                redis.ask("SET", snapshot_key(project.tenant, record.environments[0].digest), packed),
                redis.ask("HSET", LISTING, str(project), 1),
            )
        await strange(redis)
        source = RedisSource(redis, host.replica, host.metrics.registry, pace=SOURCE_PACE)
        async with running(source.run()):
            record = record_of(GOOD, blob)
            await redis.ask("SET", snapshot_key("poison", record.environments[0].digest), zstandard.compress(blob))
            await redis.ask("HSET", record_key(GOOD), "number", 1, "body", encode_record(record))
            await until(lambda: refused(host) >= COUNT)
            await redis.ask("HSET", LISTING, str(GOOD), 1)
            await host.has(GOOD, 1, "good")
            assert host.installed == [(GOOD, 1)]
            assert [each.name for each in (tmp_path / "host" / "snapshots").iterdir()] == ["poison"]
        await redis.close()

    asyncio.run(run())


def renamed(body: bytes, project: ProjectId) -> bytes:
    """With the name of the tenant that it is put under: it would be refused for another's alone."""
    old = msgspec.msgpack.encode("poison")
    return (
        body[:1] + msgspec.msgpack.encode(project.tenant) + body[1 + len(old) :] if body[1:].startswith(old) else body
    )


def refused(host: Host) -> float:
    names = ("burgee_redis_refused_total", "burgee_sync_refused_total")
    return sum(
        sample.value for metric in host.metrics.registry.collect() for sample in metric.samples if sample.name in names
    )


async def strange(redis: RedisClient) -> None:
    """Entries that are none, and things that are not what their names say."""
    for name in ("../..", "shop", "", "shop/web/x", "shop/\xff", "/", "shop/a b"):
        await redis.ask("HSET", LISTING, name, 1)
    for number in ("nan", "-1", "9" * 30, "", "1e9", "0x10"):
        await redis.ask("HSET", LISTING, f"numbers/n{len(number)}", number)
    typed = ProjectId("strange", "typed")
    await redis.ask("SET", record_key(typed), "no hash")
    large = ProjectId("strange", "large")
    await redis.ask("HSET", record_key(large), "number", 1, "body", bytes(LARGEST_RECORD + 1))
    blob = compiled("good")
    listed = ProjectId("strange", "list")
    record = record_of(listed, blob)
    await redis.ask("HSET", record_key(listed), "number", 1, "body", encode_record(record))
    await redis.ask("RPUSH", snapshot_key("strange", record.environments[0].digest), "no string")
    for each in (typed, large, listed):
        await redis.ask("HSET", LISTING, str(each), 1)


def test_a_snapshot_with_its_digest_right_and_its_inside_wrong_is_refused(tmp_path: Path, redis_url: str) -> None:
    """Made by somebody who knows the format: only the engine can tell."""
    blob, chance = compiled("good"), random.Random(7)

    async def run() -> None:
        redis = RedisClient(parse_address(redis_url))
        host = Host(tmp_path / "host")
        await redis.ask("SET", OWNER, "0a" * 8)
        for index in range(20):
            project = ProjectId("poison", f"p{index}")
            inside = bytearray(blob)
            inside[56:] = chance.randbytes(len(blob) - 56)
            inside[24:56] = digest = blake2b(inside[56:], digest_size=32).digest()
            published = Published("production", 1, digest.hex(), len(blob), 1, 0.0)
            await redis.ask("SET", snapshot_key("poison", digest.hex()), zstandard.compress(bytes(inside)))
            body = encode_record(ProjectRecord(*project, (published,), version=1))
            await redis.ask("HSET", record_key(project), "number", 1, "body", body)
            await redis.ask("HSET", LISTING, str(project), 1)
        async with running(RedisSource(redis, host.replica, host.metrics.registry, pace=SOURCE_PACE).run()):
            await until(lambda: host.count("burgee_sync_refused_total", reason="verify") >= 20)
        assert host.installed == []
        await redis.close()

    asyncio.run(run())


def test_what_zstd_promises_is_not_believed() -> None:
    content = bytes(1000)
    assert unpacked(zstandard.compress(content), 1000) == content
    unsized = zstandard.ZstdCompressor(write_content_size=False)
    assert unpacked(unsized.compress(content), 1000) == content
    assert unpacked(unsized.compress(bytes(1_000_000)), 1000) is None
    for bad in (b"", b"x", zstandard.compress(bytes(999)), zstandard.compress(content)[:-1]):
        assert unpacked(bad, 1000) is None
