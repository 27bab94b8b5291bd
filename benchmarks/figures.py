"""A figure: what was measured, beside a control of the same run, as a ratio, and whether it meets its bar.

    measure(benchmark, report, "1,000 flags, JSON to JSON", subject, control, bar=at_most_times(3))
    -> 1,000 flags, JSON to JSON    14.1 us (14.3)    the C sketch 4.7 us    3.0x    <= 3x    met

Rounds of the control and of the subject take turns, so that a machine that slows down slows both. Times are the minimum
over the rounds, which is what the code costs when nothing disturbs it; the median stands beside it. Bars are printed,
never asserted: only answers are.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from time import perf_counter_ns
from typing import Any, Literal

from pytest_benchmark.fixture import BenchmarkFixture

Unit = Literal["ns", "bytes", "bytes an id"]


@dataclass(frozen=True, slots=True)
class Loop:
    """`run()` does `units` pieces of the work whose price is asked."""

    name: str
    run: Callable[[], object]
    units: int = 1


@dataclass(frozen=True, slots=True)
class Control:
    """`sample()` runs one round and gives nanoseconds a unit."""

    name: str
    sample: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Bar:
    text: str
    limit: float
    of: Literal["value", "ratio"]
    at_least: bool = False

    def is_met(self, value: float, ratio: float | None) -> bool | None:
        """None where there is no ratio to hold against the bar."""
        held = value if self.of == "value" else ratio
        if held is None:
            return None
        return held >= self.limit if self.at_least else held <= self.limit


def at_most_times(times: float) -> Bar:
    return Bar(f"<= {times:g}x", times, "ratio")


def at_least_times(times: float) -> Bar:
    return Bar(f">= {times:g}x", times, "ratio", at_least=True)


def at_most(limit: float, text: str) -> Bar:
    return Bar(text, limit, "value")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    figure: str
    value: float  # for times the minimum over the rounds
    unit: Unit = "ns"
    median: float | None = None
    control: str = ""
    control_value: float | None = None
    ratio: float | None = None
    bar: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        return {True: "met", False: "MISSED", None: ""}[self.met]


@dataclass(slots=True)
class Report:
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        figure: str,
        value: float,
        *,
        unit: Unit = "ns",
        median: float | None = None,
        control: str = "",
        control_value: float | None = None,
        ratio: float | None = None,
        bar: Bar | None = None,
    ) -> Row:
        if ratio is None and control_value:
            ratio = value / control_value
        met = bar.is_met(value, ratio) if bar else None
        row = Row(figure, value, unit, median, control, control_value, ratio, bar.text if bar else "", met)
        self.rows.append(row)
        return row

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(row) for row in self.rows]

    def as_text(self) -> list[str]:
        head = ("figure", "best", "(median)", "control", "", "ratio", "bar", "")
        body = [
            (
                row.figure,
                shown(row.value, row.unit),
                f"({shown(row.median, row.unit)})" if row.median is not None else "",
                row.control,
                shown(row.control_value, row.unit) if row.control_value is not None else "",
                f"{row.ratio:.2f}x"
                if row.ratio is not None and row.ratio < 100
                else f"{row.ratio:.0f}x"
                if row.ratio
                else "",
                row.bar,
                row.verdict,
            )
            for row in self.rows
        ]
        widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
        left_aligned = {0, 3, 6, 7}
        return [
            "  ".join(
                cell.ljust(width) if column in left_aligned else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in (head, *body)
        ]


def shown(value: float, unit: Unit) -> str:
    if unit == "bytes":
        return f"{value / 1000:.1f} kB" if value < 1_000_000 else f"{value / 1_000_000:.2f} MB"
    if unit == "bytes an id":
        return f"{value:.2f} B"
    for limit, divisor, name in ((1e3, 1, "ns"), (1e6, 1e3, "us"), (1e9, 1e6, "ms")):
        if value < limit:
            return f"{value / divisor:.3g} {name}"
    return f"{value / 1e9:.3g} s"


def looping(loop: Loop) -> Control:
    """A loop of ours as a control."""

    def sample() -> float:
        collects = gc.isenabled()
        gc.disable()
        try:
            start = perf_counter_ns()
            loop.run()
            return (perf_counter_ns() - start) / loop.units
        finally:
            if collects:
                gc.enable()

    return Control(loop.name, sample)


def measure(
    benchmark: BenchmarkFixture,
    report: Report,
    figure: str,
    subject: Loop,
    control: Control,
    *,
    bar: Bar | None = None,
    rounds: int = 25,
) -> Row | None:
    """None where benchmarks are disabled: subject and control have run once, untimed."""
    samples: list[float] = []

    def turn_of_the_control() -> None:
        samples.append(control.sample())

    benchmark.pedantic(subject.run, setup=turn_of_the_control, rounds=rounds, warmup_rounds=1)  # type: ignore[no-untyped-call]
    if benchmark.disabled:
        return None
    assert benchmark.stats is not None
    seconds = benchmark.stats.stats.data
    row = report.add(
        figure,
        min(seconds) * 1e9 / subject.units,
        median=statistics.median(seconds) * 1e9 / subject.units,
        control=control.name,
        control_value=min(samples),
        bar=bar,
    )
    benchmark.extra_info.update(asdict(row))
    return row
