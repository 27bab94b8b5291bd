"""A flood of requests at a rate, whatever comes back: for servers that answer faster than a client can care.

    flood(url, message, rate=100_000, seconds=5, bundle=16)  ->  Flooded(answers={200: 412_000, 503: 88_000}, …)

Open loop: requests go out in bundles, the next one whether or not the last one was answered. What a connection does not
take (its server has stopped to read) is kept back, and counted. With `at_once`, so is what would be more bundles than
that on one connection: a closed loop, which shows what the server can do.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import uvloop

from loadtests.histogram import Histogram

BEHIND = 1 << 16  # bytes that a connection may have to write before bundles are kept back
_LINE = re.compile(rb"HTTP/1\.1 (\d\d\d) ")
_LINE_LENGTH = 13


@dataclass(frozen=True)
class Flooded:
    seconds: float
    answers: Mapping[int, int]
    kept_back: int
    unanswered: int  # at the end
    late: float  # seconds: the longest that the generator was behind its schedule
    latency: Mapping[int, Histogram]  # of bundles, by the status of their last answer: from written to answered
    last_refused: float  # seconds since the start, of the last answer that was not 200

    @property
    def goodput(self) -> float:
        return self.answers.get(200, 0) / self.seconds

    def milliseconds(self, status: int) -> dict[str, float]:
        found = self.latency.get(status, Histogram())
        return {f"p{each}": round(1000 * found.percentile(each), 1) for each in (50, 99)} if any(found) else {}


class _Flooding(asyncio.Protocol):
    def __init__(self, bundle: int) -> None:
        self.answers: Counter[int] = Counter()
        self.latency: dict[int, Histogram] = defaultdict(Histogram)
        self.open: deque[float] = deque()  # when each bundle that is on its way was written
        self.last_refused = 0.0
        self._bundle = bundle
        self._answered = 0  # of the first of these
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own inherits nothing

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        found = [int(each) for each in _LINE.findall(data)]
        self._tail = data[1 - _LINE_LENGTH :]  # what may be the begin of a line, but is shorter than one
        self.answers.update(found)
        now = time.monotonic()
        if found.count(200) < len(found):
            self.last_refused = now
        whole, rest = divmod(self._answered + len(found), self._bundle)
        for number in range(1, whole + 1):
            status = found[number * self._bundle - self._answered - 1]
            self.latency[status].record(now - self.open.popleft())
        self._answered = rest


def flood(
    url: str, message: bytes, *, rate: float, seconds: float, connections: int, bundle: int = 1, at_once: int = 1 << 30
) -> Flooded:
    return uvloop.run(_flood(url, message * bundle, rate / bundle, seconds, connections, bundle, at_once))


async def _flood(
    url: str, message: bytes, rate: float, seconds: float, connections: int, bundle: int, at_once: int
) -> Flooded:
    loop, parts = asyncio.get_running_loop(), urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    each: _Flooding
    protocols = [(await loop.create_connection(lambda: _Flooding(bundle), host, port))[1] for _ in range(connections)]
    kept_back, sent, late, start = 0, 0, 0.0, time.monotonic()
    while (now := time.monotonic()) < start + seconds:
        due = int((now - start) * rate)
        late = max(late, now - start - sent / rate)
        for number in range(sent, min(due, sent + 64)):
            each = protocols[number % connections]
            if len(each.open) >= at_once or each.transport.get_write_buffer_size() > BEHIND:
                kept_back += bundle
            else:
                each.open.append(time.monotonic())
                each.transport.write(message)
            sent += 1
        await asyncio.sleep(0.0 if sent < due else 0.001)
    took = time.monotonic() - start
    answers = sum((each.answers for each in protocols), Counter[int]())
    latency: dict[int, Histogram] = defaultdict(Histogram)
    for each in protocols:
        for status, histogram in each.latency.items():
            latency[status].add(histogram)
        each.transport.abort()
    last_refused = max(each.last_refused for each in protocols) - start
    unanswered = sent * bundle - kept_back - answers.total()
    return Flooded(took, dict(answers), kept_back, unanswered, late, latency, max(0.0, last_refused))
