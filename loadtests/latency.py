"""How long answers take at a rate that the server does not choose: p50 to p99.9 from the moment a request was due.

    python -m loadtests.latency --kind single --rate 2000 --seconds 5
    python -m loadtests.latency --kind batch --rate 200 --control aiohttp
    python -m loadtests.latency --url http://127.0.0.1:8080 --key burgee_server_… --path … --body '{"context": {}}'

Without `--url` it starts a server of its own, whose every answer it can check. Another server (`--compare URL`) or a
control (`--control`) takes turns with it in the same run. How it is done: open_loop.py. For tests:

    measured = measure(Load(server.data, (message,), rate=500, seconds=2))
    measured.statuses, measured.latency.percentile(99)
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import uvloop

from loadtests.histogram import PERCENTILES, Histogram
from loadtests.open_loop import Generator, Load, Measured, Outcome, Schedule
from loadtests.processes import Unavailable, add_server_options, control, end_on_sigterm, server_options, serving
from loadtests.questions import KINDS, Question, WrongAnswer, question, settled
from loadtests.tenants import prepare

__all__ = ["Load", "Measured", "Outcome", "measure", "measure_together"]

DIFFERENT = 50  # questions that are asked in turn


def measure(load: Load) -> Measured:
    """Blocks until every request of the load is answered or given up."""
    return measure_together(load)[0]


def measure_together(*loads: Load) -> tuple[Measured, ...]:
    """Several loads at the same time, from one event loop: a flood and those who must not notice it, say."""

    async def run() -> tuple[Measured, ...]:
        loop, broken = asyncio.get_running_loop(), list[str]()
        working = asyncio.gather(*(Generator(load).run() for load in loads))

        def break_off(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            broken.append(f"{context['message']}: {context.get('exception')!r}")
            working.cancel()

        # An error of ours in a callback would else leave requests unanswered for ever.
        loop.set_exception_handler(break_off)
        try:
            return tuple(await working)
        except asyncio.CancelledError:
            if broken:
                raise RuntimeError(broken[0]) from None
            raise

    # A collection in the middle would be taken for the server's latency.
    collects = gc.isenabled()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run())
    finally:
        if collects:
            gc.enable()


@dataclass(frozen=True)
class Target:
    name: str
    url: str
    questions: Sequence[Question]
    checked: bool  # whether the answers are known

    def load(self, options: argparse.Namespace) -> Load:
        def check(number: int, status: int, body: bytes) -> bool:
            asked = self.questions[number % len(self.questions)]
            return status == asked.status and body == asked.answer

        host = urlsplit(self.url).netloc
        return Load(
            self.url,
            tuple(each.message(host) for each in self.questions),
            rate=options.rate,
            seconds=options.seconds / options.rounds,
            connections=options.connections,
            schedule=options.schedule,
            timeout=options.timeout,
            check=check if self.checked else None,
        )


@dataclass(frozen=True)
class Figures:
    """The rounds of one target, taken together."""

    name: str
    rounds: Sequence[Measured]
    generator_cpu: float  # share of a core that the generator took

    @property
    def latency(self) -> Histogram:
        whole = Histogram()
        for each in self.rounds:
            whole.add(each.latency)
        return whole

    @property
    def passed(self) -> bool:
        return all(not each.failures and not each.wrong and set(each.statuses) <= {200, 304} for each in self.rounds)

    def as_json(self) -> dict[str, Any]:
        statuses, failures = Counter[int](), Counter[str]()
        for each in self.rounds:
            statuses.update(each.statuses)
            failures.update(each.failures)
        seconds = sum(each.seconds for each in self.rounds)
        return {
            "name": self.name,
            "intended_rate": self.rounds[0].intended_rate,
            "achieved_rate": round(sum(statuses.values()) / seconds, 1),
            "intended": sum(each.intended for each in self.rounds),
            "statuses": {str(status): count for status, count in sorted(statuses.items())},
            "failures": dict(failures),
            "wrong": sum(each.wrong for each in self.rounds),
            "late": sum(each.late for each in self.rounds),
            "waited": sum(each.waited for each in self.rounds),
            "reconnects": sum(each.reconnects for each in self.rounds),
            "generator_cpu": round(self.generator_cpu, 3),
            "latency_ms": self.latency.as_milliseconds(),
        }

    def __str__(self) -> str:
        figures = self.as_json()
        latency = figures["latency_ms"]
        columns = "  ".join(f"{name} {latency[name]:.3f}" for name in (*(f"p{each:g}" for each in PERCENTILES), "max"))
        answers = ", ".join(f"{count} x {status}" for status, count in figures["statuses"].items()) or "none"
        failures = "".join(f", {count} {why}" for why, count in figures["failures"].items())
        late = figures["late"] / figures["intended"]
        return (
            f"{self.name}: {columns} ms\n"
            f"  intended {figures['intended_rate']:,.0f}/s, achieved {figures['achieved_rate']:,.0f}/s;"
            f" answers: {answers}{failures}, {figures['wrong']} wrong\n"
            f"  sent late by the generator: {figures['late']} ({late:.2%}); it took {self.generator_cpu:.0%} of a core;"
            f" waited for a connection: {figures['waited']}"
            + ("\n  THE GENERATOR WAS LATE: these figures are not the server's alone" if late > 0.01 else "")
        )


def main() -> None:
    options = _parser().parse_args()
    end_on_sigterm()
    try:
        with ExitStack() as stack:
            figures = _take_turns(_targets(options, stack), options)
    except (Unavailable, WrongAnswer, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    if options.json:
        print(json.dumps([each.as_json() for each in figures]))
    else:
        for each in figures:
            print(each)
        _print_ratios(figures)
    raise SystemExit(not all(each.passed for each in figures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtests.latency", description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, default="single", help="what is asked of the server that is started")
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second (default: 1000)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of load for each target, over all rounds")
    parser.add_argument("--rounds", type=int, default=1, help="turns that the targets take")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--schedule", choices=get_args(Schedule), default="poisson")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds until a request is given up")
    parser.add_argument("--url", help="a server that runs already, instead of one that is started")
    parser.add_argument("--key", default="", help="for --url")
    parser.add_argument("--path", default="/ofrep/v1/evaluate/flags", help="for --url")
    parser.add_argument("--body", default='{"context": {"targetingKey": "u-1"}}', help="for --url")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="for --url; repeat it")
    parser.add_argument("--compare", metavar="URL", help="another server, asked the same in turns")
    parser.add_argument("--control", choices=("constant", "aiohttp"), help="a control server, asked the same in turns")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_server_options(parser)
    return parser


def _targets(options: argparse.Namespace, stack: ExitStack) -> list[Target]:
    if options.url:
        headers = {"Content-Type": "application/json"}
        headers.update(
            (name.strip(), value.strip()) for name, _, value in (each.partition(":") for each in options.header)
        )
        if options.key:
            headers["Authorization"] = f"Bearer {options.key}"
        asked = Question("single", options.path, options.body.encode(), 0, headers, lambda _: True)
        targets = [Target(options.url, options.url, (asked,), checked=False)]
    else:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="burgee-latency-")))
        key = prepare(folder, "edge")["edge"]["server"]
        words = server_options(options)
        server = stack.enter_context(serving(folder / "tenants", *words, log=folder / "server.log"))
        asked_in_turn = [question(options.kind, key, context=each) for each in range(DIFFERENT)]
        known = [settled(each, server.data) for each in asked_in_turn]
        targets = [Target("burgee", server.data, known, checked=True)]
    questions = targets[0].questions
    if options.compare:
        targets.append(Target(f"compared, {options.compare}", options.compare, questions, checked=False))
    if options.control:
        url = stack.enter_context(control(options.control)).data
        targets.append(Target(options.control, url, questions, checked=False))
    return targets


def _take_turns(targets: Sequence[Target], options: argparse.Namespace) -> list[Figures]:
    rounds: dict[str, list[Measured]] = {each.name: [] for each in targets}
    cpu = dict.fromkeys(rounds, 0.0)
    for number in range(options.rounds):
        for target in targets:
            print(f"round {number + 1} of {options.rounds}: {target.name} …", file=sys.stderr)
            before = time.process_time()
            rounds[target.name].append(measure(target.load(options)))
            cpu[target.name] += time.process_time() - before
    return [
        Figures(name, measured, cpu[name] / sum(each.seconds for each in measured)) for name, measured in rounds.items()
    ]


def _print_ratios(figures: Sequence[Figures]) -> None:
    first = figures[0].latency.as_milliseconds()
    for other in figures[1:]:
        theirs = other.latency.as_milliseconds()
        ratios = ", ".join(f"{name} {first[name] / theirs[name]:.2f}x" for name in first if theirs[name])
        print(f"{figures[0].name} to {other.name}: {ratios}")


if __name__ == "__main__":
    main()
