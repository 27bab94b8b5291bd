"""Durations counted in buckets whose width grows with the value, as HdrHistogram does: any percentile within 0.1 %.

    times = Histogram()
    times.record(0.000123)
    times.percentile(99.0)        0.000123, in seconds

Values are kept in whole microseconds: exactly up to 2,047, then in 1,024 buckets for each doubling.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

EXACT = 2_048  # below it, every microsecond has a bucket
PER_DOUBLING = EXACT // 2
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Histogram:
    __slots__ = ("_counts", "count", "total")

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0  # microseconds
        for each in seconds:
            self.record(each)

    def record(self, seconds: float) -> None:
        value = int(seconds * 1e6)
        if value < EXACT:
            bucket = value if value > 0 else 0
        else:
            shift = value.bit_length() - 11
            bucket = shift * PER_DOUBLING + (value >> shift)
        counts = self._counts
        counts[bucket] = counts.get(bucket, 0) + 1
        self.count += 1
        self.total += value

    def add(self, other: Histogram) -> None:
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total

    def percentile(self, percent: float) -> float:
        """Seconds that `percent` of the values do not exceed; 0 when there are none."""
        if not self.count:
            return 0.0
        wanted, seen = self.count * percent / 100, 0
        for bucket, count in sorted(self._counts.items()):
            seen += count
            if seen >= wanted:
                return _highest_in(bucket) / 1e6
        raise AssertionError("unreachable: all counts were seen")

    @property
    def highest(self) -> float:
        return _highest_in(max(self._counts)) / 1e6 if self._counts else 0.0

    @property
    def mean(self) -> float:
        return self.total / self.count / 1e6 if self.count else 0.0

    def __iter__(self) -> Iterator[tuple[float, int]]:
        """Pairs of seconds and count, in order."""
        for bucket, count in sorted(self._counts.items()):
            yield _highest_in(bucket) / 1e6, count

    def as_milliseconds(self) -> dict[str, float]:
        figures = {f"p{percent:g}": round(self.percentile(percent) * 1e3, 3) for percent in PERCENTILES}
        return {**figures, "max": round(self.highest * 1e3, 3), "mean": round(self.mean * 1e3, 3)}


def _highest_in(bucket: int) -> int:
    """Microseconds: the largest value that is counted in that bucket."""
    if bucket < EXACT:
        return bucket
    shift = bucket // PER_DOUBLING - 1
    return ((bucket - shift * PER_DOUBLING + 1) << shift) - 1
