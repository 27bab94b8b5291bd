"""Each piece of loadtests/ for a second or so against a real server: right answers pass, and wrong ones do not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from loadtests import recording, throughput
from loadtests.plan import SCENARIOS
from loadtests.processes import PATIENCE, ROOT, Server, serving, tree, usage
from loadtests.questions import WrongAnswer, question, settled
from loadtests.raw_load import raw_load
from loadtests.run import ask_with_locust
from loadtests.tenants import Keys, named, prepare, write_document
from tests.server.running import until

needs_locust = pytest.mark.skipif(find_spec("locust") is None, reason="locust is not installed (make load installs it)")
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed (make tools installs it)")

BURNING = """
import os, sys, time
from server.processes.naming import name_process
if os.fork() == 0:
    name_process("burgee-worker")
while time.process_time() < 0.3:
    pass
print("burnt", flush=True)
sys.stdin.read()  # ends with the test
"""


def run(*words: str, timeout: int = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)


def test_cpu_is_that_of_all_descendants_and_workers_are_told_apart() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", BURNING], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert [process.stdout.readline() for _ in range(2)] == ["burnt\n"] * 2
        used = usage(process.pid, memory=True)
        process.stdin.close()
    assert used.workers == 1
    assert 0.2 <= used.worker_seconds <= used.seconds - 0.2
    assert used.bytes > 1_000_000


def test_the_workers_of_a_server_are_found(server: Server) -> None:
    used = usage(server.pid, memory=True)
    assert used.workers == 2
    assert used.worker_seconds < used.seconds  # the agent has compiled


@needs_wrk
@pytest.mark.parametrize("asked", throughput.ASKED, ids=lambda asked: asked.name)
def test_raw_throughput_counts_requests_evaluations_and_cpu(
    asked: throughput.Asked, server: Server, keys: dict[str, Keys]
) -> None:
    one = settled(question(asked.kind, keys["edge"]["server"]), server.data)
    raw = raw_load(server, one, seconds=1, depth=asked.depth, connections=4)
    assert raw.requests > 0 and raw.evaluations == raw.requests * one.evaluations
    assert 0 < raw.worker_cpu <= raw.cpu


@needs_wrk
def test_a_raw_load_that_is_answered_otherwise_is_no_figure(server: Server, keys: dict[str, Keys]) -> None:
    one = question("single", keys["edge"]["server"])
    with pytest.raises(WrongAnswer, match="the load failed"):
        raw_load(server, replace(one, path="/ofrep/v1/evaluate/flags/nothing"), seconds=1)
    with pytest.raises(WrongAnswer, match="not all answered with 304"):
        raw_load(server, replace(one, status=304), seconds=1)


def test_two_saved_runs_are_printed_side_by_side(tmp_path: Path) -> None:
    row = throughput.Row("single flag", 1000.0, 8.0, 7.0, 1000.0, 125_000.0)
    for name, each in (("old", row), ("new", replace(row, requests_per_second=2000.0, cpu_us_per_request=4.0))):
        saved = throughput.Run("a machine", "3.11", (), (each,))
        (tmp_path / name).write_text(json.dumps(asdict(saved)))
    done = run("-m", "loadtests.throughput", "--compare", str(tmp_path / "old"), str(tmp_path / "new"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split() == ["single", "flag", "1,000", "2,000", "2.00x", "8.00", "4.00", "0.50x"]


@pytest.mark.parametrize(
    "words",
    [
        *(("-m", f"loadtests.{name}") for name in ("run", "latency", "throughput", "tenants")),
        ("loadtests/cpu_per_request.py",),
    ],
    ids=lambda words: words[-1],
)
def test_entry_points_say_what_they_take(words: tuple[str, ...]) -> None:
    done = run(*words, "--help")
    assert done.returncode == 0 and "usage:" in done.stdout, done.stderr


def test_the_latency_command_measures(tmp_path: Path) -> None:
    done = run("-m", "loadtests.latency", "--kind", "bulk", "--rate", "200", "--seconds", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    [figures] = json.loads(done.stdout)
    assert (figures["statuses"], figures["failures"], figures["wrong"]) == ({"200": 100}, {}, 0)
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"] <= figures["latency_ms"]["max"]


@needs_locust
def test_all_users_are_importable_and_every_scenario_has_its_file() -> None:
    listed = run("-m", "locust", "--locustfile", "loadtests/locustfile.py", "--list")  # gevent patches its own process
    assert listed.returncode == 0, listed.stderr
    assert {"EdgeProxy", "MobileClient", "OpenFeatureClient", "Publisher"} <= set(listed.stdout.split())
    files = {path.name for path in (ROOT / "loadtests" / "scenarios").glob("*.py")}
    assert files == {Path(scenario.file).name for scenario in SCENARIOS.values()}


@needs_locust
def test_a_short_run_passes_and_leaves_its_report(tmp_path: Path) -> None:
    scenarios = ("--scenario", "mobile", "--scenario", "reload")
    done = run("-m", "loadtests.run", "--seconds", "3", "--out", str(tmp_path), *scenarios)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    mobile, reload = summary["scenarios"]
    assert summary["passed"] and mobile["recorded"]["total"]["requests"] > 20
    assert {each["name"] for each in mobile["recorded"]["requests"]} >= {"bulk, polled: 200", "bulk, polled: 304"}
    assert "publish to answer" in {each["name"] for each in reload["recorded"]["requests"]}
    page = (tmp_path / "index.html").read_text()
    assert page.count("<svg") == 8 and "http" not in page  # plots, and nothing to fetch
    assert (tmp_path / "mobile.html").exists()


@needs_locust
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_stop_leaves_no_process(how: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "loadtests.run", "--seconds", "300", "--out", str(tmp_path), "--scenario", "edge"]
    started = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: (tmp_path / "edge.log").exists() and len(tree(started.pid)) >= 4)
        members = [each.pid for each in tree(started.pid)]
    finally:
        started.send_signal(how)
        status = started.wait(PATIENCE)
    assert status == 128 + how
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in members))


@needs_locust
def test_wrong_answers_fail_a_scenario(tmp_path: Path) -> None:
    prepare(tmp_path, "flood")
    write_document(tmp_path / "tenants", "steady-1", named("somebody-else"))
    with serving(tmp_path / "tenants", "--workers", "1", "--tenant-requests", "100") as server:
        ended = ask_with_locust(SCENARIOS["flood"], server, tmp_path, tmp_path, seconds=3)
    recorded = recording.read(tmp_path / "record.json")
    assert ended == 1
    assert 0 < recorded.total.failures < recorded.total.requests
    assert {(each.name, each.what) for each in recorded.failures} == {
        ("steady tenants", "the answer of steady-1/app/default: 'somebody-else'")
    }
