"""How much one server answers: requests, flag evaluations, and the CPU that each took, beside controls of the same run.

    python -m loadtests.throughput --json new.json          (needs wrk: make tools)
    python -m loadtests.throughput --compare old.json       measures, and prints both side by side
    python -m loadtests.throughput --compare old.json new.json      measures nothing

What is asked takes turns with the controls, for a few rounds; CPU is that of the best round, rates are the median. The
controls (BURGEE_LIMITS, default: ../shared/limits beside the checkout) write constant bytes, or run a plain aiohttp
handler; both are asked for one flag. Without them those rows are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from loadtests.processes import (
    CONTROLS,
    Server,
    Unavailable,
    add_server_options,
    control,
    end_on_sigterm,
    server_options,
    serving,
)
from loadtests.questions import Kind, Question, WrongAnswer, question, settled
from loadtests.raw_load import Raw, raw_load
from loadtests.table import printed
from loadtests.tenants import prepare

PIPELINED = 16


@dataclass(frozen=True)
class Asked:
    name: str
    kind: Kind
    depth: int = 1


ASKED = (
    Asked("single flag", "single"),
    Asked(f"single flag, pipelined x{PIPELINED}", "single", PIPELINED),
    Asked("bulk, 20 flags", "bulk"),
    Asked("bulk, unchanged (304)", "unchanged"),
    Asked("batch 100 x 20, compact", "batch"),
)


@dataclass(frozen=True)
class Row:
    name: str
    requests_per_second: float
    cpu_us_per_request: float  # all processes of the server
    worker_cpu_us_per_request: float
    evaluations_per_second: float  # of flags
    evaluations_per_cpu_second: float


@dataclass(frozen=True)
class Run:
    machine: str
    python: str
    options: Sequence[str]  # of the server
    rows: Sequence[Row]


def measure(options: argparse.Namespace) -> Run:
    measured: dict[str, list[Raw]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="burgee-throughput-")))
        key = prepare(folder, "edge")["edge"]["server"]
        words = server_options(options)
        server = stack.enter_context(serving(folder / "tenants", *words, log=folder / "server.log"))
        turns: list[tuple[str, Server, Question, int]] = []
        if CONTROLS.exists():
            one = settled(question("single", key), server.data)
            turns += [
                (f"control: {name}", stack.enter_context(control(name)), one, 1) for name in ("constant", "aiohttp")
            ]
        turns += [(each.name, server, settled(question(each.kind, key), server.data), each.depth) for each in ASKED]
        for number in range(options.rounds):
            for name, asked_of, asked, depth in turns:
                print(f"round {number + 1} of {options.rounds}: {name} …", file=sys.stderr)
                raw = raw_load(asked_of, asked, seconds=options.seconds, depth=depth, connections=options.connections)
                measured.setdefault(name, []).append(raw)
    rows = tuple(_row(name, runs) for name, runs in measured.items())
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}"
    return Run(machine, platform.python_version(), words, rows)


def _row(name: str, runs: Sequence[Raw]) -> Row:
    answers_flags = not name.startswith("control: ")
    return Row(
        name,
        statistics.median(each.rate for each in runs),
        min(each.cpu_us_per_request for each in runs),
        min(each.worker_cpu_us_per_request for each in runs),
        statistics.median(each.evaluations / each.seconds for each in runs) if answers_flags else 0.0,
        max(each.evaluations / each.cpu for each in runs) if answers_flags else 0.0,
    )


def show(run: Run) -> None:
    constant = next((row for row in run.rows if row.name == "control: constant"), None)
    lines = [("", "requests/s", "CPU us/request", "of workers", "x constant", "evaluations/s", "per core of CPU")]
    for row in run.rows:
        lines.append(
            (
                row.name,
                f"{row.requests_per_second:,.0f}",
                f"{row.cpu_us_per_request:.2f}",
                f"{row.worker_cpu_us_per_request:.2f}",
                f"{row.cpu_us_per_request / constant.cpu_us_per_request:.2f}" if constant else "",
                f"{row.evaluations_per_second:,.0f}" if row.evaluations_per_second else "",
                f"{row.evaluations_per_cpu_second:,.0f}" if row.evaluations_per_cpu_second else "",
            )
        )
    print("\n".join(printed(lines)))
    if constant is None:
        print(f"no rows of controls: there is no {CONTROLS} (BURGEE_LIMITS names another folder)")


def compare(old: Run, new: Run) -> None:
    if old.machine != new.machine:
        print(f"not the same machine: {old.machine}; {new.machine}")
    before = {row.name: row for row in old.rows}
    lines = [("", "requests/s: old", "new", "ratio", "CPU us/request: old", "new", "ratio")]
    for row in new.rows:
        if (was := before.get(row.name)) is not None:
            lines.append(
                (
                    row.name,
                    f"{was.requests_per_second:,.0f}",
                    f"{row.requests_per_second:,.0f}",
                    f"{row.requests_per_second / was.requests_per_second:.2f}x",
                    f"{was.cpu_us_per_request:.2f}",
                    f"{row.cpu_us_per_request:.2f}",
                    f"{row.cpu_us_per_request / was.cpu_us_per_request:.2f}x",
                )
            )
    print("\n".join(printed(lines)))


def saved(path: Path) -> Run:
    return msgspec.json.decode(path.read_bytes(), type=Run)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=2, help="of load per row and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the run there")
    parser.add_argument(
        "--compare", type=Path, nargs="+", metavar="FILE", help="a saved run beside this one; two: beside one another"
    )
    add_server_options(parser)
    options = parser.parse_args()
    end_on_sigterm()
    if options.compare and len(options.compare) > 2:
        parser.error("--compare takes one or two saved runs")
    try:
        old = saved(options.compare[0]) if options.compare else None
        if old is not None and len(options.compare) == 2:
            compare(old, saved(options.compare[1]))
            return
        new = measure(options)
    except (Unavailable, WrongAnswer, OSError, msgspec.MsgspecError) as error:
        raise SystemExit(f"error: {error}") from None
    show(new)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(asdict(new), indent=1))
    if old is not None:
        compare(old, new)


if __name__ == "__main__":
    main()
