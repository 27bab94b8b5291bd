"""Requests sent when they are due, whatever the server does: open loop, and so without coordinated omission.

    Load("http://127.0.0.1:8080", (post(…),), rate=2000, seconds=10)
    ->  Measured(statuses={200: 20000}, failures={}, latency=Histogram, late=3, …)

A schedule is drawn up before the first request. Each request goes to a connection that is idle; when all are busy it
waits, and the time it waits counts: `latency` runs from the moment at which the request was due, `service` from the
moment at which it was sent. A generator that sends the next request only after the last reply would hide every stall
of the server.

`late` counts requests that the generator itself looked at more than a millisecond after they were due. When that is
more than a few, the generator is the bottleneck, or others have its core, and the figures are not the server's.
"""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from loadtests.connection import Connection
from loadtests.histogram import Histogram
from loadtests.ticker import Ticker

LATE = 0.001  # seconds
AT_ONCE = 64  # requests sent between two looks at what has arrived
SWEEP = 0.1  # seconds between two looks for requests that time out
RECONNECT = 0.05  # seconds before a lost connection is opened again

Schedule = Literal["poisson", "constant"]
Check = Callable[[int, int, bytes], bool]
"""(number of the request, status, body) -> whether that is the right answer"""


@dataclass(frozen=True)
class Load:
    url: str  # http://host:port
    requests: tuple[bytes, ...]  # whole messages, sent in turn
    rate: float  # requests a second
    seconds: float
    connections: int = 16
    schedule: Schedule = "poisson"
    timeout: float = 10.0  # seconds, for a request on its connection as for one that waits for a connection
    seed: int = 1
    check: Check | None = None  # slower: bodies are gathered only where they are checked
    keep: bool = False  # every outcome, not only counts


class Outcome(NamedTuple):
    due: float  # seconds since the start
    sent: float  # the same; 0 when it never was
    latency: float  # seconds from due to the whole reply, or to the failure
    status: int  # 0 when there is no reply
    failure: str  # "", "timeout", "closed", "malformed", "unsent"


@dataclass(frozen=True)
class Measured:
    intended: int  # requests on the schedule
    sent: int
    seconds: float  # from the first request due to the last reply
    intended_rate: float
    statuses: Mapping[int, int]
    failures: Mapping[str, int]
    wrong: int  # replies that `check` refused
    late: int
    waited: int  # no connection was idle when they were due
    reconnects: int
    latency: Histogram  # of replies, from the moment due
    service: Histogram  # of replies, from the moment sent
    outcomes: tuple[Outcome, ...] = field(default=(), repr=False)

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    @property
    def achieved_rate(self) -> float:
        return self.answered / self.seconds if self.seconds else 0.0

    def only(self, status: int) -> bool:
        """Whether every request was answered, rightly, with that status."""
        return self.statuses.get(status, 0) == self.intended and not self.wrong


class Generator:
    """One load. `await Generator(load).run()` once."""

    def __init__(self, load: Load) -> None:
        parts = urlsplit(load.url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"not an http:// address: {load.url}")
        self._load = load
        self._address = (parts.hostname, parts.port or 80)
        self._due = _schedule(load)
        self._next = 0
        self._idle: deque[Connection] = deque()
        self._waiting: deque[int] = deque()
        self._open: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._statuses: Counter[int] = Counter()
        self._failures: Counter[str] = Counter()
        self._latency, self._service = Histogram(), Histogram()
        self._sent = self._late = self._waited = self._wrong = self._reconnects = self._over = 0
        self._outcomes: list[Outcome] = []
        self._ended = False

    async def run(self) -> Measured:
        self._loop = asyncio.get_running_loop()
        self._finished = self._loop.create_future()
        try:
            await asyncio.gather(*(self._connect() for _ in range(self._load.connections)))
            self._start = time.monotonic() + 0.01
            self._ticker = Ticker(self._loop, self._tick)
            self._loop.call_later(SWEEP, self._sweep)
            self._ticker.arm(self._start + self._due[0])
            await self._finished
            seconds = time.monotonic() - self._start
            self._ticker.close()
        finally:
            self._ended = True
            for task in self._opening:
                task.cancel()
            for connection in list(self._open):
                connection.close()
        return Measured(
            len(self._due),
            self._sent,
            seconds,
            self._load.rate,
            dict(sorted(self._statuses.items())),
            dict(self._failures),
            self._wrong,
            self._late,
            self._waited,
            self._reconnects,
            self._latency,
            self._service,
            tuple(self._outcomes),
        )

    def _tick(self) -> None:
        due, start, at, now = self._due, self._start, self._next, time.monotonic()
        end = min(len(due), at + AT_ONCE)
        while at < end and start + due[at] <= now:
            if now - start - due[at] > LATE:
                self._late += 1
            if self._idle:
                self._send(self._idle.popleft(), at)
            else:
                self._waited += 1
                self._waiting.append(at)
            at += 1
        self._next = at
        if at < len(due):
            self._ticker.arm(start + due[at])

    def _send(self, connection: Connection, number: int) -> None:
        self._sent += 1
        connection.send(number, self._load.requests[number % len(self._load.requests)])

    def answered(self, connection: Connection, number: int, status: int, body: bytes) -> None:
        """A connection has a whole reply; it is idle unless it is closing."""
        now = time.monotonic()
        if not connection.closing:
            if self._waiting:
                self._send_waiting(connection)
            else:
                self._idle.append(connection)
        due = self._start + self._due[number]
        self._statuses[status] += 1
        self._latency.record(now - due)
        self._service.record(now - connection.sent_before)
        if self._load.check is not None and not self._load.check(number, status, body):
            self._wrong += 1
        if self._load.keep:
            sent = connection.sent_before - self._start
            self._outcomes.append(Outcome(self._due[number], sent, now - due, status, ""))
        self._count_down()

    def failed(self, number: int, sent: float, why: str) -> None:
        now = time.monotonic()
        self._failures[why] += 1
        if self._load.keep:
            due = self._due[number]
            self._outcomes.append(Outcome(due, sent and sent - self._start, now - self._start - due, 0, why))
        self._count_down()

    def lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._ended:
            self._reconnects += 1
            task = self._loop.create_task(self._reconnect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _count_down(self) -> None:
        self._over += 1
        if self._over == len(self._due) and not self._finished.done():
            self._finished.set_result(None)

    def _send_waiting(self, connection: Connection) -> None:
        self._send(connection, self._waiting.popleft())

    async def _connect(self) -> None:
        gathers = self._load.check is not None
        _, connection = await self._loop.create_connection(lambda: Connection(self, gathers), *self._address)
        self._open.add(connection)
        if self._waiting:
            self._send_waiting(connection)
        else:
            self._idle.append(connection)

    async def _reconnect(self) -> None:
        while not self._ended:
            try:
                await asyncio.wait_for(self._connect(), self._load.timeout)
                return
            except OSError:  # TimeoutError included
                await asyncio.sleep(RECONNECT)

    def _sweep(self) -> None:
        if self._ended:
            return
        oldest = time.monotonic() - self._load.timeout
        for connection in [each for each in self._open if each.busy and each.sent < oldest]:
            connection.give_up()
        while self._waiting and self._start + self._due[self._waiting[0]] < oldest:
            self.failed(self._waiting.popleft(), 0.0, "unsent")
        self._loop.call_later(SWEEP, self._sweep)


def _schedule(load: Load) -> array[float]:
    """Seconds since the start at which each request is due."""
    count = max(1, round(load.rate * load.seconds))
    if load.schedule == "constant":
        return array("d", (number / load.rate for number in range(count)))
    chosen = random.Random(load.seed)
    return array("d", accumulate(chosen.expovariate(load.rate) for _ in range(count)))
