"""Clients that are slow on purpose are let go by the deadlines, hold little memory, and others are answered meanwhile.

300 connections by default; with BURGEE_PROFILE=nightly 2,000 slow heads, 2,000 slow bodies and 500 slow readers of each
kind. How long others wait beside them is measured by loadtests/slow_clients.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest
import uvloop

from tests.server.live.conftest import BODY_TIMEOUT, HEAD_TIMEOUT
from tests.server.live.corpus import FLAG, MANY, ONE, chunked, message
from tests.server.live.processes import descriptors, megabytes
from tests.server.live.test_front_in_slices import Bench, Wire
from tests.server.live.traffic import exchange
from tests.server.running import BATCH, BULK, PATIENCE, SHOP, Running, until

NIGHTLY = os.environ.get("BURGEE_PROFILE") == "nightly"
SENDERS, READERS = (4_000, 500) if NIGHTLY else (300, 30)
DRIP = 0.1  # seconds between two bytes
SWEEP = 2.0  # seconds that the front may be late by, as its clock is coarse
FEW = 8  # descriptors that come and go: files that are looked at, the other client
LINGER = 2.0  # seconds that aiohttp reads on after it refused a body

BIG = message(BATCH, json.dumps({"contexts": [{"targetingKey": str(n)} for n in range(300)]}).encode())
BIG_BEHIND = BIG.replace(b"Host: localhost", b"Host: localhost\r\nTE: x")  # the same from aiohttp

# What a slow client sends at once, what it drips after that, the last answer it gets (0: none), and the seconds it has.
SLOW: dict[str, tuple[bytes, bytes, int, float]] = {
    "nothing": (b"", b"", 0, HEAD_TIMEOUT),
    "head": (b"POST /v1/eva", message()[12:], 0, HEAD_TIMEOUT),
    "head, for aiohttp": (b"GET / HTTP/1.1\r\n", b"X-Header: y\r\n" * 99, 0, HEAD_TIMEOUT),
    "second head": (message() + b"POST /v1", message(BATCH)[8:], 200, HEAD_TIMEOUT),
    "second head, for aiohttp": (message(FLAG, ONE, "TE: x"), b"GET / HTTP/1.1\r\nX: y", 200, HEAD_TIMEOUT),
    "body": (message(BATCH, b"").replace(b"Length: 0", b"Length: 999"), b" " * 99, 408, BODY_TIMEOUT),
    "body, for aiohttp": (
        message(FLAG, b"", "TE: x").replace(b"Length: 0", b"Length: 999"),
        b" " * 999,
        408,
        BODY_TIMEOUT,
    ),
    "chunks": (chunked(framed=b""), b"1\r\n \r\n" * 99, 408, BODY_TIMEOUT),
    "one chunk": (chunked(framed=b"ff\r\n"), b" " * 99, 408, BODY_TIMEOUT),
    "chunk size": (chunked(framed=b""), b"0" * 99, 408, BODY_TIMEOUT),
    "expectation": (message(FLAG, ONE, "Expect: 100-continue")[: -len(ONE)], b"", 408, BODY_TIMEOUT),
    "body of a refused request": (
        message(FLAG, b"", key="x").replace(b"Length: 0", b"Length: 999"),
        b" " * 999,
        401,
        0.0,
    ),
}


class _Slow(asyncio.Protocol):
    """Sends `first`, then drips `rest`."""

    def __init__(self, first: bytes, rest: bytes, *, reads: bool) -> None:
        self.first, self.rest, self.reads = first, rest, reads
        self.answer = b""
        self.began = time.monotonic()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        if not self.reads:
            self.transport.pause_reading()
        self.transport.write(self.first)
        self.drip()

    def drip(self) -> None:
        if self.rest and not self.lost.done():
            self.transport.write(self.rest[:1])
            self.rest = self.rest[1:]
            asyncio.get_running_loop().call_later(DRIP, self.drip)

    def data_received(self, data: bytes) -> None:
        self.answer += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(time.monotonic() - self.began)


async def others_are_answered(server: Running, until_done: asyncio.Future[object]) -> int:
    """On a connection each: one that waits for its turn here might be idle for too long there."""
    asked = 0
    while not until_done.done() or asked < 3:
        statuses = await exchange(server.address, [message(FLAG, ONE, "Connection: close")])
        assert statuses == [200]
        asked += 1
        await asyncio.sleep(0.02)
    return asked


async def beside(server: Running, slow: Callable[[], Awaitable[object]]) -> None:
    """The slow ones, with a right client beside them; then nothing of them is left."""
    await exchange(server.address, [message(FLAG, ONE, "Connection: close")])  # what comes with the first request
    memory, held = megabytes(server.process.pid), descriptors(server.process.pid) + FEW
    most = memory
    running = asyncio.ensure_future(slow())
    others = asyncio.ensure_future(others_are_answered(server, running))
    while not running.done():
        await asyncio.wait([running], timeout=0.5)
        most = max(most, megabytes(server.process.pid))
    await running
    assert await others >= 3
    assert most <= memory + 64
    await asyncio.to_thread(until, lambda: descriptors(server.process.pid) <= held)


def test_slow_senders_are_let_go(impatient: Running) -> None:
    async def one(name: str) -> None:
        first, rest, status, seconds = SLOW[name]
        _, slow = await asyncio.get_running_loop().create_connection(
            lambda: _Slow(first, rest, reads=True), *impatient.address
        )
        kept = await asyncio.wait_for(slow.lost, PATIENCE)
        statuses = [int(each[:3]) for each in slow.answer.split(b"HTTP/1.1 ")[1:]]
        assert statuses[-1:] == ([status] if status else []), (name, statuses)
        assert kept >= seconds - 0.1 or status == 401, (name, kept)
        # Not a measure of speed: without deadlines it would be as long as the client likes, here ten times as long.
        assert kept < seconds + SWEEP + LINGER + PATIENCE, (name, kept)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(name) for name in SLOW for _ in range(SENDERS // len(SLOW))))

    uvloop.run(beside(impatient, all_of_them))


@pytest.mark.parametrize("asked", [BIG, BIG_BEHIND, message(BULK) * 200], ids=["front", "aiohttp", "pipelined"])
def test_who_asks_and_does_not_read_is_let_go(impatient: Running, asked: bytes) -> None:
    """Each asks until the buffers on the way are full, which are the kernel's but for little."""
    held = descriptors(impatient.process.pid) + FEW

    async def all_of_them() -> None:
        loop = asyncio.get_running_loop()
        slow = [
            (await loop.create_connection(lambda: _Slow(asked * 20, b"", reads=False), *impatient.address))[1]
            for _ in range(READERS)
        ]
        # Who does not read does not see the end either: it is seen by what the server still holds.
        await asyncio.to_thread(until, lambda: descriptors(impatient.process.pid) <= held)
        for each in slow:
            each.transport.abort()

    uvloop.run(beside(impatient, all_of_them))


def test_nobody_has_less_time_than_the_timeouts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, timeout=0.05)
    time.sleep(0.1)  # the front's clock is behind by that
    ways = {"nothing": b"", "head": message()[:50], "body": message()[:-5], "next": message()}
    connections = {}
    for name, sent in ways.items():
        connections[name] = Wire()
        bench.connect(connections[name], sent)
    bench.front.tick()
    assert not any(each.closed for each in connections.values())
    time.sleep(1.1)
    bench.front.tick()
    assert all(each.closed for each in connections.values())


def test_slow_answers_belong_to_their_requests(impatient: Running) -> None:
    """A body that comes late, but in time, is answered; and the connection goes on."""
    with_late_body = message(BATCH, MANY)
    cut = len(with_late_body) - 5
    for head in (with_late_body, with_late_body.replace(b"Host:", b"TE: x\r\nHost:")):

        async def one(parts: tuple[bytes, ...]) -> list[bytes]:
            reader, writer = await asyncio.open_connection(*impatient.address)
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.2)
            writer.write(message(f"{BULK}/reviews", ONE, "Connection: close", key=SHOP))
            answer = await asyncio.wait_for(reader.read(-1), PATIENCE)
            return answer.split(b"HTTP/1.1 ")[1:]

        late = len(head) - len(with_late_body) + cut
        found = uvloop.run(one((head[:late], head[late:])))
        assert [each[:3] for each in found] == [b"200", b"200"]
        assert b'"results"' in found[0] and b'"key":"reviews"' in found[1]
