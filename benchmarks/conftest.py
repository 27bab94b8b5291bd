"""`pytest benchmarks` measures and prints one table; with `--benchmark-disable` all runs once and is only checked.

`--figures PATH` writes the table as JSON too. See benchmarks/README.md for how to read it.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import msgspec
import pytest

import rules_compiler
from benchmarks.controls.sketch import sketch_source
from benchmarks.figures import Report
from benchmarks.flags import document
from engine import Snapshot

REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", type=Path, metavar="PATH", help="write the table of figures to PATH as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[REPORT] = Report()
    config.option.benchmark_disable_gc = True
    config.option.benchmark_quiet = True  # its own table has a round a line, ours a unit of work


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report = config.stash[REPORT]
    if not report.rows:
        return
    terminalreporter.section("figures")
    for line in (*machine().values(), "", *report.as_text(), *report.notes):
        terminalreporter.write_line(line)
    if path := config.getoption("figures"):
        written = {"machine": machine(), "figures": report.as_json(), "notes": report.notes}
        path.write_bytes(msgspec.json.format(msgspec.json.encode(written)) + b"\n")


@cache
def machine() -> dict[str, str]:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    cpu = [
        line.partition(":")[2].strip() for line in read("/proc/cpuinfo").splitlines() if line.startswith("model name")
    ]
    sketch = sketch_source()
    processor = f"{os.cpu_count()} x {cpu[0] if cpu else 'unknown'}"
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": f"commit {described.stdout.strip() or 'unknown'}",
        "machine": f"{platform.machine()}, {processor}, load {os.getloadavg()[0]:.1f}",
        "python": f"{interpreter}, {platform.system()} {platform.release()}",
        "sketch": f"sketch {sketch}"
        if sketch
        else "no sketch (BURGEE_LIMITS names its folder): its ratios are left out",
    }


def read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Report:
    return pytestconfig.stash[REPORT]


@pytest.fixture(scope="session")
def smoke(pytestconfig: pytest.Config) -> bool:
    """Everything once, untimed."""
    return bool(pytestconfig.getoption("benchmark_disable"))


@pytest.fixture(scope="session")
def blob_of() -> Callable[[int], bytes]:
    """The snapshot of n flags."""

    @cache
    def blob(count: int) -> bytes:
        return rules_compiler.compile_flags(document(count))

    return blob


@pytest.fixture(scope="session")
def snapshot_of(blob_of: Callable[[int], bytes]) -> Callable[[int], Snapshot]:
    @cache
    def snapshot(count: int) -> Snapshot:
        return Snapshot.from_bytes(blob_of(count))

    return snapshot
