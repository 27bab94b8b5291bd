"""What counting costs, and what a stale answer does: the same call of a snapshot that does neither is the control."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.figures import Bar, Loop, Report, at_most_times, looping, measure
from benchmarks.flags import bodies
from benchmarks.test_batch import CONTEXTS, FLAGS, body_of
from engine import Snapshot

CALLS = 10  # of a batch, a round
Asking = Callable[[Snapshot], Callable[..., object]]


def bulk(snapshot: Snapshot) -> Callable[..., object]:
    def run(stale: int | None = None) -> None:
        for body in bodies():
            snapshot.evaluate_json(body, stale=stale)

    return run


def batch(snapshot: Snapshot) -> Callable[..., object]:
    body = body_of("compact", named=False)

    def run(stale: int | None = None) -> None:
        for _ in range(CALLS):
            snapshot.evaluate_batch(body, stale=stale)

    return run


CASES = [
    ("1,000 flags, JSON to JSON", 1_000, bulk, len(bodies()), at_most_times(1.05)),
    (f"batch of {CONTEXTS} x {FLAGS} flags, compact", FLAGS, batch, CALLS, at_most_times(1.10)),
]


@pytest.mark.parametrize(("figure", "flags", "asking", "units", "bar"), CASES)
def test_counting(
    benchmark: BenchmarkFixture,
    report: Report,
    blob_of: Callable[[int], bytes],
    figure: str,
    flags: int,
    asking: Asking,
    units: int,
    bar: Bar,
) -> None:
    counting, plain = (Snapshot.from_bytes(blob_of(flags)) for _ in range(2))
    counting.start_counting()
    asking(counting)()
    assert sum(count for _, _, count in counting.take_counts()) == counting.evaluated > 0
    control = looping(Loop("not counted", asking(plain), units))
    measure(benchmark, report, f"{figure}, counted", Loop("counted", asking(counting), units), control, bar=bar)


@pytest.mark.parametrize(("figure", "flags", "asking", "units"), [case[:4] for case in CASES])
def test_stale(
    benchmark: BenchmarkFixture,
    report: Report,
    snapshot_of: Callable[[int], Snapshot],
    figure: str,
    flags: int,
    asking: Asking,
    units: int,
) -> None:
    run = asking(snapshot_of(flags))
    stale = Loop("stale", lambda: run(90), units)
    measure(benchmark, report, f"{figure}, stale", stale, looping(Loop("fresh", run, units)))


def test_taking_counts(benchmark: BenchmarkFixture, report: Report, blob_of: Callable[[int], bytes]) -> None:
    """After all flags were answered for many contexts; the control is one such answer."""
    snapshot = Snapshot.from_bytes(blob_of(1_000))
    snapshot.start_counting()

    def run() -> None:
        assert snapshot.take_counts()

    answering = looping(
        Loop("evaluate_json", bulk(snapshot), len(bodies()))
    )  # between two rounds, so there is something to take
    measure(benchmark, report, "counts of 1,000 flags taken", Loop("take_counts", run), answering)
