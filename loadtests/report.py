"""The report of a load run: one page with plots, and the same figures for machines.

    write(folder, results)  ->  folder/index.html, folder/summary.json

index.html needs no network to be looked at; it links to locust's own page of each scenario, which lies beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import msgspec

from loadtests.plots import Line, plot
from loadtests.recording import Recorded
from loadtests.watching import Sample

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2em auto; padding: 0 1em; color: #1f2937; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin: 2em 0 .2em; }
table { border-collapse: collapse; width: 100%; margin: .6em 0; } td, th { padding: .2em .6em; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr { border-bottom: 1px solid #e5e7eb; }
.plots { display: grid; grid-template-columns: 1fr 1fr; gap: 8px; } svg { width: 100%; }
.title { font-size: 11px; font-weight: 600; fill: currentColor; } .tick { font-size: 9px; }
text.tick:not([fill]) { fill: #6b7280; }
.grid { stroke: #e5e7eb; } .line { fill: none; stroke-width: 1.5; }
.passed { color: #047857; } .failed { color: #b91c1c; }
@media (max-width: 700px) { .plots { grid-template-columns: 1fr; } }
@media (prefers-color-scheme: dark) { body { background: #111827; color: #e5e7eb; } .grid, tr { stroke: #374151;
border-color: #374151; } .passed { color: #34d399; } .failed { color: #f87171; } a { color: #93c5fd; } }
"""


class Result(msgspec.Struct, frozen=True):
    name: str
    says: str
    passed: bool
    why: str  # it did not pass, else empty
    seconds: float
    requests_per_second: float
    cores: float  # CPU of the server, on the average
    peak_bytes: int
    recorded: Recorded
    samples: tuple[Sample, ...]


def write(folder: Path, results: Sequence[Result], *, server_options: Sequence[str]) -> None:
    passed = all(result.passed for result in results)
    summary = {"passed": passed, "server_options": list(server_options), "scenarios": results}
    (folder / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=1))
    body = "".join(
        (
            f"<h1>Load tests: {_verdict(passed)}</h1>",
            f"<p>Options of the server: <code>{escape(' '.join(server_options)) or 'none'}</code></p>",
            _table(results),
            *(_section(result) for result in results),
        )
    )
    (folder / "index.html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Load tests</title><style>{STYLE}</style><body>{body}</body></html>"
    )


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """The table of all scenarios, for the page and for the terminal."""
    head = (
        "scenario",
        "requests",
        "failures",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "CPU cores",
        "memory MB",
        "",
    )
    return [
        head,
        *(
            (
                result.name,
                f"{result.recorded.total.requests:,}",
                f"{result.recorded.total.failures:,}",
                f"{result.requests_per_second:,.0f}",
                f"{result.recorded.total.p50:.2f}",
                f"{result.recorded.total.p99:.2f}",
                f"{result.recorded.total.max:.1f}",
                f"{result.cores:.2f}",
                f"{result.peak_bytes / 1e6:.0f}",
                "passed" if result.passed else "FAILED",
            )
            for result in results
        ),
    ]


def _table(results: Sequence[Result]) -> str:
    head, *lines = rows(results)
    cells = "".join(
        f'<tr><td><a href="#{escape(line[0])}">{escape(line[0])}</a></td>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in line[1:-1])
        + f"<td>{_verdict(line[-1] == 'passed')}</td></tr>"
        for line in lines
    )
    return f"<table><tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>{cells}</table>"


def _section(result: Result) -> str:
    recorded, start = result.recorded, result.recorded.started
    seconds = recorded.seconds
    plots = (
        plot(
            "requests",
            [
                Line("all", [(each.at, each.requests) for each in seconds]),
                Line("failed", [(each.at, each.failures) for each in seconds]),
            ],
            unit="a second",
        ),
        plot(
            "latency",
            [
                Line("p50", [(each.at, each.p50) for each in seconds]),
                Line("p99", [(each.at, each.p99) for each in seconds]),
            ],
            unit="ms",
        ),
        plot(
            "CPU of the server",
            [Line("", [(max(0, each.at - start), each.cores) for each in result.samples])],
            unit="cores",
        ),
        plot(
            "memory of the server",
            [Line("", [(max(0, each.at - start), each.bytes / 1e6) for each in result.samples])],
            unit="MB",
        ),
    )
    kinds = "".join(
        f"<tr><td>{escape(kind.name)}</td><td>{kind.requests:,}</td><td>{kind.failures:,}</td><td>{kind.p50:.2f}</td>"
        f"<td>{kind.p90:.2f}</td><td>{kind.p99:.2f}</td><td>{kind.max:.1f}</td></tr>"
        for kind in recorded.requests
    )
    failures = "".join(
        f'<li class="failed">{failure.count:,} x {escape(failure.name)}: {escape(failure.what)}</li>'
        for failure in recorded.failures
    )
    return (
        f'<h2 id="{escape(result.name)}">{escape(result.name)}: {_verdict(result.passed)}</h2>'
        f"<p>{escape(result.says)}. {escape(result.why)}"
        f' <a href="{escape(result.name)}.html">locust’s page</a>, <a href="{escape(result.name)}.log">its log</a></p>'
        f'<div class="plots">{"".join(plots)}</div>'
        "<table><tr><th>request</th><th>count</th><th>failures</th><th>p50 ms</th><th>p90 ms</th><th>p99 ms</th>"
        f"<th>max ms</th></tr>{kinds}</table><ul>{failures}</ul>"
    )


def _verdict(passed: bool) -> str:
    return '<span class="passed">passed</span>' if passed else '<span class="failed">FAILED</span>'
