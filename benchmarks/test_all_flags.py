"""Every flag of one context: an OFREP request body in, the OFREP bulk answer out; against the sketch of these flags."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import rules_compiler
from benchmarks.controls.plain import decode_and_copy
from benchmarks.controls.sketch import sketch_control
from benchmarks.figures import Loop, Report, at_most_times, looping, measure
from benchmarks.flags import answers, bodies, document, specs
from engine import Snapshot

SIZES = (1, 20, 100, 1_000)
BAR = at_most_times(3)


def assert_answers_are_right(snapshot: Snapshot, count: int, every: int = 1) -> None:
    keys = [spec.key for spec in specs(count)]
    for body, expected in list(zip(bodies(), answers(count), strict=True))[::every]:
        answered = {flag["key"]: flag for flag in msgspec.json.decode(snapshot.evaluate_json(body))["flags"]}
        assert [(answered[key]["value"], answered[key]["reason"]) for key in keys] == list(expected)
        assert len(answered) == count


def measure_bulk(
    benchmark: BenchmarkFixture, report: Report, figure: str, snapshot: Snapshot, count: int, barred: bool
) -> None:
    evaluate = snapshot.evaluate_json
    asked = bodies() * max(1, 100 // count)  # a round of a millisecond or more

    def run() -> None:
        for body in asked:
            evaluate(body)

    control = sketch_control(count)
    plain = looping(decode_and_copy(bodies(), evaluate(bodies()[0])))
    measure(
        benchmark,
        report,
        figure,
        Loop("evaluate_json", run, len(asked)),
        control or plain,
        bar=BAR if control and barred else None,
    )


@pytest.mark.parametrize("count", SIZES)
def test_json_in_json_out(
    benchmark: BenchmarkFixture, report: Report, snapshot_of: Callable[[int], Snapshot], smoke: bool, count: int
) -> None:
    snapshot = snapshot_of(count)
    assert_answers_are_right(snapshot, count, every=20 if smoke and count == 1_000 else 1)
    flags = "1 flag" if count == 1 else f"{count:,} flags"
    measure_bulk(benchmark, report, f"{flags} x 3 rules, JSON to JSON", snapshot, count, count == 1_000)


def test_json_in_json_out_with_three_written_rules(benchmark: BenchmarkFixture, report: Report, smoke: bool) -> None:
    """The sketch's third rule is its fallthrough; here it is a rule with a condition, before a fallthrough."""
    snapshot = Snapshot.from_bytes(rules_compiler.compile_flags(document(1_000, split_as_rule=True)))
    assert_answers_are_right(snapshot, 1_000, every=20 if smoke else 5)
    figure = "1,000 flags x 3 rules and a fallthrough, JSON to JSON"
    measure_bulk(benchmark, report, figure, snapshot, 1_000, True)
