"""Runs the load scenarios, each against a server of its own on loopback, and leaves a report.

    python -m loadtests.run --seconds 20 --out build/load            (make load)
    ->  build/load/index.html, summary.json, and locust's own page and log of each scenario

Fails when an answer was wrong, a request failed, or a server did not stop as it should.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from loadtests import recording
from loadtests.plan import SCENARIOS, Scenario
from loadtests.processes import (
    PATIENCE,
    ROOT,
    Server,
    Unavailable,
    add_server_options,
    end_on_sigterm,
    server_options,
    serving,
)
from loadtests.report import Result, rows, write
from loadtests.table import printed
from loadtests.tenants import prepare
from loadtests.watching import Sample, watching

EMPTY = recording.Recorder().recorded()


def run(scenario: Scenario, options: argparse.Namespace) -> Result:
    with tempfile.TemporaryDirectory(prefix="burgee-load-") as temporary:
        folder = Path(temporary)
        prepare(folder, scenario.group, many=options.tenants)
        words = (*scenario.options, *server_options(options))
        with (
            serving(folder / "tenants", *words, log=options.out / f"{scenario.name}.server.log") as server,
            watching(server.pid) as samples,
        ):
            ended = ask_with_locust(scenario, server, folder, options.out, seconds=options.seconds)
        record = folder / "record.json"
        recorded = recording.read(record) if record.exists() else EMPTY
    return _result(scenario, recorded, samples, ended)


def ask_with_locust(scenario: Scenario, server: Server, folder: Path, out: Path, *, seconds: int) -> int | None:
    """Its exit status, or None when it did not end. What it saw is in `record.json` of the folder of the tenants."""
    command = [
        sys.executable,
        "-m",
        "locust",
        "--headless",
        "--only-summary",
        "--locustfile",
        str(Path(__file__).parent / scenario.file),
    ]
    command += ["--host", server.data, "--users", str(scenario.users), "--spawn-rate", str(scenario.users)]
    command += [
        "--run-time",
        f"{seconds}s",
        "--stop-timeout",
        "10",
        "--html",
        str(out / f"{scenario.name}.html"),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "BURGEE_LOAD": str(folder),
        "BURGEE_LOAD_RECORD": str(folder / "record.json"),
    }
    with (out / f"{scenario.name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        try:
            deadline = time.monotonic() + seconds + PATIENCE
            while process.poll() is None and time.monotonic() < deadline:
                _show(f"{scenario.name}: {scenario.says}; {max(0, deadline - PATIENCE - time.monotonic()):.0f} s left")
                time.sleep(0.5)
            return process.poll()
        finally:
            _show("")
            if process.poll() is None:
                process.kill()
            process.wait()


def _result(
    scenario: Scenario,
    recorded: recording.Recorded,
    samples: Sequence[Sample],
    ended: int | None,
) -> Result:
    total = recorded.total
    if total.failures:
        why = f"{total.failures} requests failed"
    elif not total.requests:
        why = f"nothing was asked (see {scenario.name}.log)"
    elif ended != 0:
        why = f"locust ended with {ended} (see {scenario.name}.log)"
    else:
        why = ""
    seconds = max(1, len(recorded.seconds))
    under_load = [each for each in samples if recorded.started <= each.at <= recorded.started + seconds]
    return Result(
        name=scenario.name,
        says=scenario.says,
        passed=not why,
        why=why,
        seconds=seconds,
        requests_per_second=round(total.requests / seconds, 1),
        cores=round(sum(each.cores for each in under_load) / max(1, len(under_load)), 3),
        peak_bytes=max((each.bytes for each in samples), default=0),
        recorded=recorded,
        samples=tuple(under_load),
    )


def _show(text: str) -> None:
    """One line that is overwritten, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.run", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20, help="of load for each scenario (default: 20)")
    parser.add_argument(
        "--out", type=Path, default=Path("build/load"), help="folder of the report (default: build/load)"
    )
    parser.add_argument(
        "--tenants", type=int, default=200, help="small tenants of the scenario `tenants` (default: 200)"
    )
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="only this one; repeat it")
    add_server_options(parser)
    options = parser.parse_args()
    if find_spec("locust") is None:
        raise SystemExit("error: there is no locust (hint: make load, or pip install -e '.[load]')")
    end_on_sigterm()
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = [SCENARIOS[name] for name in options.scenario or SCENARIOS]
    results: list[Result] = []
    try:
        for number, scenario in enumerate(chosen, 1):
            print(f"[{number}/{len(chosen)}] {scenario.name}: {scenario.says} …", flush=True)
            results.append(run(scenario, options))
            if not results[-1].passed:
                print(f"    FAILED: {results[-1].why}", flush=True)
    except Unavailable as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        if results:
            write(options.out, results, server_options=server_options(options))
            print("\n".join(printed(rows(results))))
            print(f"report: {options.out / 'index.html'}")
    raise SystemExit(not all(result.passed for result in results))


if __name__ == "__main__":
    main()
