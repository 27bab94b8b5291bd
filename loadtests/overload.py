"""Three times as much as a server can do: how much it still answers, how soon it says no, when it is over.

    python -m loadtests.overload                 batches of 100 contexts x 20 flags, then single flags

First what it can do, asked by a few connections; then the same at `--times` that rate, open loop, by many; then at a
third of it. Goodput is 200s a second in the second phase, as a share of the first; the same per second of CPU that the
workers got holds when others use the cores, too. Recovery is the time from the end of the flood to the last answer that
is not 200. The generator takes a core of its own: with one worker, two are enough.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from loadtests.flood import flood
from loadtests.processes import Server, add_server_options, end_on_sigterm, server_options, serving, usage
from loadtests.questions import Question, question, settled
from loadtests.tenants import prepare

ENOUGH = {"batch": 30_000.0, "single": 1e6}  # requests a second: more than anybody can; what is too much is kept back
BUNDLE = {"batch": 1, "single": 16}
_SHED = re.compile(r"^burgee_shed_total\S* (\S+)$", re.MULTILINE)
_MEMORY = re.compile(r"^burgee_worker_resident_memory_bytes\S* (\S+)$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.overload", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="of overload")
    parser.add_argument("--times", type=float, default=3.0, help="the capacity")
    parser.add_argument("--connections", type=int, default=800)
    parser.add_argument("--kind", choices=("batch", "single"), action="append")
    parser.add_argument("--json", action="store_true")
    add_server_options(parser)
    options = parser.parse_args()
    end_on_sigterm()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="burgee-overload-")))
        key = prepare(folder, "edge")["edge"]["server"]
        server = stack.enter_context(serving(folder / "tenants", *server_options(options), log=folder / "server.log"))
        figures = {
            kind: overload(server, settled(question(kind, key), server.data), options)
            for kind in options.kind or ("batch", "single")
        }
    if options.json:
        print(json.dumps(figures))
        return
    for kind, found in figures.items():
        print(f"{kind}: " + ", ".join(f"{name} {value}" for name, value in found.items()))


def overload(server: Server, asked: Question, options: argparse.Namespace) -> dict[str, Any]:
    started = usage(server.pid)
    message, bundle = asked.message(server.data.removeprefix("http://")), BUNDLE[asked.kind]
    calm = flood(server.data, message, rate=ENOUGH[asked.kind], seconds=3, connections=64, bundle=bundle, at_once=1)
    capacity = calm.goodput
    calm_cpu = usage(server.pid).since(started).worker_seconds
    time.sleep(1)
    memory, shed = _metric(server, _MEMORY), _metric(server, _SHED)
    started = usage(server.pid)
    rate, connections = options.times * capacity, options.connections
    flooded = flood(server.data, message, rate=rate, seconds=options.seconds, connections=connections, bundle=bundle)
    ended = time.monotonic()
    flooded_cpu = usage(server.pid).since(started).worker_seconds
    after = flood(server.data, message, rate=capacity / 3, seconds=4, connections=50, bundle=1)
    pause = time.monotonic() - ended - after.seconds  # connections were closed and opened
    return {
        "capacity": round(capacity),
        "offered": round((sum(flooded.answers.values()) + flooded.unanswered + flooded.kept_back) / flooded.seconds),
        "goodput": round(flooded.goodput / capacity, 3),
        "goodput_per_cpu_second": round(flooded.answers.get(200, 0) / flooded_cpu / (calm.answers[200] / calm_cpu), 3),
        "answers": flooded.answers,
        "kept_back": flooded.kept_back,
        "unanswered": flooded.unanswered,
        "generator_late_ms": round(1000 * flooded.late, 1),
        "answered_ms": flooded.milliseconds(200),
        "shed_ms": flooded.milliseconds(503),
        "recovery_s": round(max(0.0, pause) + after.last_refused, 2) if after.last_refused else 0.0,
        "after_ms": after.milliseconds(200),
        "shed": round(_metric(server, _SHED) - shed),
        "memory_mb": [round(each / 1e6, 1) for each in (memory, _metric(server, _MEMORY))],
    }


def _metric(server: Server, pattern: re.Pattern[str]) -> float:
    with urllib.request.urlopen(f"{server.management}/metrics", timeout=10) as answer:
        return sum(float(value) for value in pattern.findall(answer.read().decode()))


if __name__ == "__main__":
    main()
