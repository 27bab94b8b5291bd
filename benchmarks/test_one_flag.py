"""One flag from Python: from a mapping, and from a context prepared once; against the price of any call into C."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import rules_compiler
from benchmarks.controls.plain import one_call
from benchmarks.figures import Bar, Loop, Report, at_most, looping, measure
from benchmarks.flags import CONTEXTS, answers, contexts, id_list_document, specs
from engine import PreparedContext, Snapshot

FROM_MAPPING = at_most(400, "<= 0.4 us")
FROM_PREPARED = at_most(150, "<= 0.15 us")
REPEATS = 10
IDS = 10_000


def asking(
    snapshot: Snapshot, keys: Sequence[str], asked: Sequence[Mapping[str, Any] | PreparedContext], name: str
) -> Loop:
    evaluate = snapshot.evaluate
    pairs = list(zip(keys, asked, strict=True)) * REPEATS

    def run() -> None:
        for key, context in pairs:
            evaluate(key, context)

    return Loop(name, run, len(pairs))


@pytest.mark.parametrize("prepared", [False, True], ids=["mapping", "prepared"])
@pytest.mark.parametrize("different", [False, True], ids=["one", "different"])
def test_one_flag_of_a_thousand(
    benchmark: BenchmarkFixture,
    report: Report,
    snapshot_of: Callable[[int], Snapshot],
    prepared: bool,
    different: bool,
) -> None:
    snapshot = snapshot_of(1_000)
    numbers = [number if different else 7 for number in range(CONTEXTS)]
    keys = [specs(1_000)[number].key for number in numbers]
    asked = [snapshot.prepare(context) if prepared else context for context in contexts()]
    for key, number, context, expected in zip(keys, numbers, asked, answers(1_000), strict=True):
        answer = snapshot.evaluate(key, context)
        assert (answer.value, answer.reason) == expected[number]
    source, bar = described(prepared)
    which = "another flag of 1,000 each time" if different else "one flag of 3 rules"
    measure(
        benchmark,
        report,
        f"{which}, {source}",
        asking(snapshot, keys, asked, "evaluate"),
        looping(one_call(CONTEXTS * REPEATS)),
        bar=bar if not different else None,
    )


@pytest.mark.parametrize("prepared", [False, True], ids=["mapping", "prepared"])
def test_one_flag_with_a_list_of_ids(benchmark: BenchmarkFixture, report: Report, prepared: bool) -> None:
    snapshot = Snapshot.from_bytes(rules_compiler.compile_flags(id_list_document(IDS)))
    asked = [snapshot.prepare(context) if prepared else context for context in contexts()]
    for number, context in enumerate(asked):
        assert snapshot.evaluate("members-only", context).value is (number % 2 == 0)
    source, bar = described(prepared)
    measure(
        benchmark,
        report,
        f"one flag with a list of {IDS:,} ids, {source}",
        asking(snapshot, ["members-only"] * CONTEXTS, asked, "evaluate"),
        looping(one_call(CONTEXTS * REPEATS)),
        bar=bar,
    )


def described(prepared: bool) -> tuple[str, Bar]:
    return ("from a prepared context", FROM_PREPARED) if prepared else ("from a mapping", FROM_MAPPING)
