"""Compiling 1,000 flags: by a process that has compiled nothing yet, and again after one flag changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import msgspec
from pytest_benchmark.fixture import BenchmarkFixture

import rules_compiler
from benchmarks.controls.plain import decode_only
from benchmarks.figures import Control, Loop, Report, at_most, looping, measure
from benchmarks.flags import Document, contexts, document, flag_of, specs
from engine import Snapshot

COUNT = 1_000
COLD_BAR = at_most(3e9, "<= 3 s")
CHANGED_BAR = at_most(50e6, "<= 50 ms")

# Imports are not timed, nor is the start of the process; what compiles is a document it has never seen.
COLD = """
import sys
from time import perf_counter_ns
import msgspec
import rules_compiler
body = sys.stdin.buffer.read()
start = perf_counter_ns()
msgspec.json.decode(body)
decoded = perf_counter_ns()
blob = rules_compiler.compile_flags(body)
print(decoded - start, perf_counter_ns() - decoded, len(blob))
"""


def changing(number: int) -> Iterator[Document]:
    """The document, again and again, each time with other countries and another version for flag `number`."""
    changed = document(COUNT)
    spec = specs(COUNT)[number]
    for turn in count(1):
        turned = replace(spec, countries=spec.countries[turn % 5 :] + spec.countries[: turn % 5], minor=30 + turn)
        changed["flags"][spec.key] = flag_of(turned)
        yield changed


def test_compile_cold(benchmark: BenchmarkFixture, report: Report, smoke: bool) -> None:
    body = msgspec.json.encode(document(10 if smoke else COUNT))
    decoding: list[float] = []
    compiling: list[float] = []

    def run() -> None:
        command = [sys.executable, "-c", COLD]
        done = subprocess.run(command, input=body, capture_output=True, check=True, cwd=Path(__file__).parents[1])
        decoded, compiled, size = (int(word) for word in done.stdout.split())
        assert size > 0
        decoding.append(decoded)
        compiling.append(compiled)

    benchmark.pedantic(run, rounds=3)  # type: ignore[no-untyped-call]
    if not benchmark.disabled:
        report.add(
            f"compile {COUNT:,} flags, cold",
            min(compiling),
            median=sorted(compiling)[1],
            control="msgspec.json.decode",
            control_value=min(decoding),
            bar=COLD_BAR,
        )


def test_compile_after_one_change(benchmark: BenchmarkFixture, report: Report) -> None:
    documents = changing(500)
    bodies = iter(map(msgspec.json.encode, documents))
    rules_compiler.compile_flags(document(COUNT))
    spec = specs(COUNT)[500]
    answers = Snapshot.from_bytes(rules_compiler.compile_flags(next(bodies)))
    assert all(answers.evaluate(spec.key, context).reason != "ERROR" for context in contexts())

    pending: list[bytes] = []
    decode = looping(decode_only(msgspec.json.encode(document(COUNT))))

    def sample() -> float:
        pending.append(next(bodies))
        return decode.sample()

    def run() -> None:
        rules_compiler.compile_flags(pending.pop())

    measure(
        benchmark,
        report,
        f"compile {COUNT:,} flags after one changed",
        Loop("compile_flags", run),
        Control(decode.name, sample),
        bar=CHANGED_BAR,
        rounds=15,
    )
