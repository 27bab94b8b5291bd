"""Many connections that send strange bytes at a server, and one that sends right ones beside them.

    asyncio.run(storm(server.address, 3_000, seed=1))   ->  Outcome(sent=3000, statuses={200: 840, 400: 1620, …}, …)

Raises AssertionError for an answer of 5xx, an answer that is not framed, a connection on which nothing happens for
long after every deadline, and a wrong answer to the right request.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

from tests.server.live.corpus import message, mutated, sliced
from tests.server.running import PATIENCE

CONNECTIONS = 256  # at once
LEAVE = 0.1  # seconds after which some callers give up waiting and leave; the others wait for the server's deadlines
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass
class Outcome:
    sent: int = 0  # messages
    connections: int = 0
    asked: int = 0  # right requests beside them, all answered right
    closed_late: int = 0  # connections that the server's deadlines ended
    longest: float = 0.0  # seconds that such a one was kept
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Answers:
    """What comes back on one connection, taken apart: answers until one has no length."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.wrong = ""
        self._rest = b""

    def feed(self, data: bytes) -> None:
        self._rest += data
        while self._rest and not self.wrong:
            end = self._rest.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._rest[: end + 2]
            line = _STATUS.match(head)
            if line is None:
                self.wrong = f"not an answer: {self._rest[:200]!r}"
                return
            status = int(line[1])
            length = _LENGTH.search(head)
            size = int(length[1]) if length else 0
            if status in (100, 304):
                size = 0
            elif length is None:
                self.wrong = f"an answer without a length: {head!r}"
                return
            if self._rest.startswith(b"HTTP/1.", end + 4):
                size = 0  # it was the answer to a HEAD: the next one follows
            if len(self._rest) < end + 4 + size:
                return
            self._rest = self._rest[end + 4 + size :]
            if status >= 500:
                self.wrong = f"a failure of the server: {head!r}"
            if status != 100:
                self.statuses.append(status)


class _Exchange(asyncio.Protocol):
    def __init__(self) -> None:
        self.answers = Answers()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.answers.feed(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(error)


async def exchange(address: tuple[str, int], parts: list[bytes]) -> list[int]:
    """The statuses of what comes back to these parts until the server closes the connection."""
    transport, caller = await asyncio.get_running_loop().create_connection(_Exchange, *address)
    for part in parts:
        if not transport.is_closing():
            transport.write(part)
        await asyncio.sleep(0)  # uvloop writes at the end of a round
    try:
        await asyncio.wait_for(asyncio.shield(caller.lost), PATIENCE)
    finally:
        transport.abort()
    assert not caller.answers.wrong, (caller.answers.wrong, parts)
    return caller.answers.statuses


class _Caller(asyncio.Protocol):
    """Sends messages, each when the one before is answered, until the connection ends."""

    def __init__(self, storm: Storm) -> None:
        self.storm = storm
        self.rng = storm.rng
        self.lost = asyncio.get_running_loop().create_future()
        self.answers = Answers()
        self.expected = 0
        self.history: list[bytes] = []
        self.parts: list[bytes] = []
        self.waits = self.rng.random() < 0.3  # for the server's deadline; else it leaves
        self.touched = time.monotonic()
        self.timer: asyncio.TimerHandle | None = None
        self.left = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self.send()

    def send(self) -> None:
        count = min(self.rng.randrange(2, 12) if self.rng.random() < 0.02 else 1, self.storm.left)
        if count == 0 or len(self.history) > 200:
            self.transport.abort()
            return
        self.storm.left -= count
        self.storm.outcome.sent += count
        self.expected = len(self.answers.statuses) + count
        whole = b"".join(mutated(self.rng) for _ in range(count))
        self.history.append(whole)
        if self.timer is not None:
            self.timer.cancel()
        self.touched = time.monotonic()
        loop = asyncio.get_running_loop()
        self.timer = None if self.waits else loop.call_later(LEAVE, self.leave)
        if self.rng.random() < 0.2:
            self.parts = sliced(whole, self.rng)
            self.send_part()
        else:
            self.transport.write(whole)

    def send_part(self) -> None:
        if self.parts and not self.transport.is_closing():
            self.transport.write(self.parts.pop(0))
            asyncio.get_running_loop().call_later(0.001, self.send_part)

    def leave(self) -> None:
        """As clients do: half, at once, or with a reset."""
        self.left = True
        if self.rng.random() < 0.3 and not self.transport.is_closing():
            self.transport.write_eof()
            self.timer = asyncio.get_running_loop().call_later(1.0, self.transport.abort)
        else:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.answers.feed(data)
        if self.answers.wrong:
            self.transport.abort()
        elif len(self.answers.statuses) >= self.expected and not self.parts and not self.left:
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        outcome = self.storm.outcome
        outcome.connections += 1
        outcome.statuses.update(self.answers.statuses)
        kept = time.monotonic() - self.touched
        if self.waits and kept > LEAVE:
            outcome.closed_late += 1
            outcome.longest = max(outcome.longest, kept)
        if self.answers.wrong:
            outcome.wrong.append(f"{self.answers.wrong}\nafter {self.history[-3:]!r}")
        if not self.lost.done():
            self.lost.set_result(None)


class Storm:
    def __init__(self, address: tuple[str, int], messages: int, seed: int) -> None:
        self.address = address
        self.left = messages
        self.rng = random.Random(seed)
        self.outcome = Outcome()

    async def run(self, connections: int = CONNECTIONS) -> Outcome:
        right = asyncio.create_task(self._ask_right())
        callers = [asyncio.create_task(self._call()) for _ in range(connections)]
        done, _ = await asyncio.wait([right, *callers], return_when=asyncio.FIRST_EXCEPTION)
        for each in done:
            each.result()
        return self.outcome

    async def _call(self) -> None:
        loop = asyncio.get_running_loop()
        while self.left > 0 and not self.outcome.wrong:
            _, caller = await loop.create_connection(lambda: _Caller(self), *self.address)
            while not (await asyncio.wait([caller.lost], timeout=PATIENCE))[0]:
                if time.monotonic() - caller.touched > PATIENCE:
                    self.outcome.wrong.append(f"nothing happens any more after {caller.history[-3:]!r}")
                    caller.transport.abort()

    async def _ask_right(self) -> None:
        """The same right request again and again, until the others are done."""
        first = b""
        reader, writer = await asyncio.open_connection(*self.address)
        while (self.left > 0 and not self.outcome.wrong) or self.outcome.asked < 3:
            writer.write(message())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            length = _LENGTH.search(head)
            assert head.startswith(b"HTTP/1.1 200 ") and length, head
            body = await reader.readexactly(int(length[1]))
            first = first or body
            assert body == first, (body, first)
            self.outcome.asked += 1
            await asyncio.sleep(0.02)
        writer.close()


async def storm(address: tuple[str, int], messages: int, seed: int) -> Outcome:
    outcome = await Storm(address, messages, seed).run()
    assert not outcome.wrong, "\n\n".join(outcome.wrong[:5])
    return outcome
