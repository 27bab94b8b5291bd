"""One tenant at ten times its quota: what another one notices of it.

    python -m loadtests.fairness

Another tenant's single flags are asked at a fixed rate, open loop: alone first, then while the first tenant sends ten
times the requests it may, in turns, so that both are measured in the same minute. Printed: p99 of the second one with
and without the flood, their ratio, how its requests ended, and what the flood got.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from loadtests.histogram import Histogram
from loadtests.latency import Load, measure_together
from loadtests.processes import Server, add_server_options, end_on_sigterm, server_options, serving
from loadtests.questions import question
from loadtests.tenants import measured, write_tenant

QUOTA = 200.0  # requests a second
TIMES = 10
RATE = 500.0  # of the other tenant


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.fairness", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    add_server_options(parser)
    options = parser.parse_args()
    end_on_sigterm()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="burgee-fairness-")))
        keys = {name: write_tenant(folder / "tenants", name, measured()) for name in ("flood", "other")}
        quotas = folder / "quotas.yaml"
        quotas.write_text(f"tenants: {{flood: {{requestsPerSecond: {QUOTA}}}}}\n")
        words = (*server_options(options), "--quotas", str(quotas))
        server = stack.enter_context(serving(folder / "tenants", *words, log=folder / "server.log"))
        figures = fairness(server, keys["flood"]["server"], keys["other"]["server"], options)
    if options.json:
        print(json.dumps(figures))
        return
    print(", ".join(f"{name} {value}" for name, value in figures.items()))


def fairness(server: Server, flooding: str, other: str, options: argparse.Namespace) -> dict[str, Any]:
    def load(key: str, rate: float, kind: Any) -> Load:
        message = question(kind, key).message(server.data.removeprefix("http://"))
        return Load(server.data, (message,), rate, options.seconds, schedule="constant")

    calm, pressed, statuses, flood = Histogram(), Histogram(), Counter[int](), Counter[int]()
    failures: Counter[str] = Counter()
    for _ in range(options.rounds):
        (alone,) = measure_together(load(other, RATE, "single"))
        beside, flooded = measure_together(load(other, RATE, "single"), load(flooding, TIMES * QUOTA, "batch"))
        calm.add(alone.latency)
        pressed.add(beside.latency)
        flood.update(flooded.statuses)
        for each in (alone, beside):
            statuses.update(each.statuses)
            failures.update(each.failures)
    return {
        "alone_p99_ms": round(1000 * calm.percentile(99), 3),
        "beside_p99_ms": round(1000 * pressed.percentile(99), 3),
        "ratio": round(pressed.percentile(99) / calm.percentile(99), 2),
        "statuses": dict(statuses),
        "failures": dict(failures),
        "flood": dict(flood),
    }


if __name__ == "__main__":
    main()
