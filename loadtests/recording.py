"""What a load run leaves behind for the report: each kind of request, second by second.

    recorder = Recorder()
    recorder.add("batch, JSON", time.time(), 0.0021, failure="")
    recorder.save(path)     {"started": …, "requests": [{"name": "batch, JSON", "requests": 412, "p50": …, …}],
                             "seconds": [{"at": 0, "requests": 24, "failures": 0, "p50": 1.9, "p99": 4.2}, …], …}

Locust's own percentiles are rounded to two digits and its series are averages over ten seconds, which hide a spike.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from loadtests.histogram import Histogram

LISTED = 20  # different failures that are kept with their text


class Kind(msgspec.Struct, frozen=True):
    name: str
    requests: int
    failures: int
    p50: float  # milliseconds, as all of these
    p90: float
    p99: float
    max: float


class Second(msgspec.Struct, frozen=True):
    at: int  # seconds since the start
    requests: int
    failures: int
    p50: float
    p99: float


class Failure(msgspec.Struct, frozen=True):
    name: str
    what: str
    count: int


class Recorded(msgspec.Struct, frozen=True):
    started: float  # seconds since the epoch
    total: Kind
    requests: tuple[Kind, ...]
    seconds: tuple[Second, ...]
    failures: tuple[Failure, ...]


class _Counts:
    __slots__ = ("failures", "times")

    def __init__(self) -> None:
        self.times = Histogram()
        self.failures = 0

    def kind(self, name: str) -> Kind:
        p50, p90, p99 = (round(self.times.percentile(percent) * 1e3, 3) for percent in (50, 90, 99))
        return Kind(name, self.times.count, self.failures, p50, p90, p99, round(self.times.highest * 1e3, 3))


class Recorder:
    def __init__(self) -> None:
        self._started = 0.0
        self._total = _Counts()
        self._kinds: dict[str, _Counts] = {}
        self._seconds: dict[int, _Counts] = {}
        self._failures: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, now: float, seconds: float, *, failure: str, is_request: bool = True) -> None:
        """What took its time but is no request stands for itself; only its failures are among those of all."""
        self._started = self._started or now
        second = self._seconds.setdefault(int(now - self._started), _Counts())
        for counts in (self._total, second, self._kinds.setdefault(name, _Counts())):
            if is_request or counts is self._kinds[name]:
                counts.times.record(seconds)
            counts.failures += bool(failure)
        if failure:
            self._failures[name, failure] += 1

    def recorded(self) -> Recorded:
        return Recorded(
            self._started,
            self._total.kind("all"),
            tuple(counts.kind(name) for name, counts in sorted(self._kinds.items())),
            tuple(_second(at, self._seconds.get(at, _Counts())) for at in range(max(self._seconds, default=-1) + 1)),
            tuple(Failure(name, what, count) for (name, what), count in self._failures.most_common(LISTED)),
        )

    def save(self, path: Path) -> None:
        path.write_bytes(msgspec.json.encode(self.recorded()))


def read(path: Path) -> Recorded:
    return msgspec.json.decode(path.read_bytes(), type=Recorded)


def _second(at: int, counts: _Counts) -> Second:
    whole = counts.kind("")
    return Second(at, whole.requests, whole.failures, whole.p50, whole.p99)
