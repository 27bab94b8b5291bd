"""Processes that end, hang and are told to end: what replaces them, what goes with them, and what callers see."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server.processes.callers import agent_of, calling, children_of, family_of, is_alive, workers_of
from tests.server.processes.test_tls import read_until, request
from tests.server.running import BULK, PATIENCE, ROOT, SHOP, Running, running, until

# Children that only beat, so that limits can be short. A worker ends at once when there is a file `broken`; to leave
# takes a while when there is a file `slow`.
BEATING = """
import os, pathlib, signal, sys, time
from server.processes.supervisor import Supervisor
from server.shared.page import Page

page = Page(6)
page.position = 1

def run(inherited):
    if inherited.slot >= 0 and pathlib.Path("broken").exists():
        sys.exit(3)
    signal.signal(signal.SIGQUIT, lambda *_: sys.exit(time.sleep(1.0) if pathlib.Path("slow").exists() else 0))
    os.write(inherited.ready, b"r")
    while True:
        page.block(inherited.block).heartbeat = time.monotonic()
        time.sleep(0.05)

quick = {"drain_delay": 0.0, "shutdown_timeout": 1.0, "hung_after": 1.0}
sys.exit(Supervisor(page, 2, run, reload=lambda: None, **quick).run())
"""


@contextmanager
def beating(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    log = (folder / "log").open("wb")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", BEATING], cwd=folder, stderr=log, stdout=log, env=environment)
    try:
        until(lambda: len(children_of(process.pid)) == 3)
        yield process
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        log.close()


@pytest.fixture
def pair(samples: Path, tmp_path: Path) -> Iterator[Running]:
    """A server of two workers."""
    with running(samples, "--workers", "2", "--state", str(tmp_path / "state")) as server:
        until(lambda: len(workers_of(server)) == 2)
        yield server


def test_a_process_that_hangs_is_replaced(tmp_path: Path) -> None:
    with beating(tmp_path) as process:
        before = children_of(process.pid)
        for each in before:
            os.kill(each, signal.SIGSTOP)
        until(lambda: len(now := children_of(process.pid)) == 3 and not now & before)


def test_when_all_were_stopped_nobody_is_replaced(tmp_path: Path) -> None:
    with beating(tmp_path) as process:
        everybody = family_of(process.pid)
        for each in everybody:
            os.kill(each, signal.SIGSTOP)
        time.sleep(3.0)  # three times what makes a process a hung one
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.5)  # the supervisor looks, and the others do not run yet
        for each in everybody:
            os.kill(each, signal.SIGCONT)
        time.sleep(1.5)
        assert family_of(process.pid) == everybody
        assert b"hangs" not in (tmp_path / "log").read_bytes()


def test_a_process_that_cannot_start_is_tried_again_with_pauses(tmp_path: Path) -> None:
    with beating(tmp_path) as process:
        (tmp_path / "broken").touch()
        victims = sorted(children_of(process.pid))[1:]
        for each in victims:
            os.kill(each, signal.SIGKILL)
        time.sleep(2.0)
        tries = (tmp_path / "log").read_bytes().count(b"a process ended")
        assert 6 <= tries <= 16  # of two slots: 0, 0.05, 0.15, 0.35, 0.75, 1.55 s
        (tmp_path / "broken").unlink()
        until(lambda: len(children_of(process.pid)) == 3)


def test_a_restart_that_fails_leaves_those_that_are_there(tmp_path: Path) -> None:
    with beating(tmp_path) as process:
        before = children_of(process.pid)
        (tmp_path / "broken").touch()
        process.send_signal(signal.SIGHUP)
        until(lambda: b"those that are there stay" in (tmp_path / "log").read_bytes())
        time.sleep(1.0)
        assert len(before & children_of(process.pid)) == 2  # the workers; the agent is another
        assert (tmp_path / "log").read_bytes().count(b"a process ended") == 1
        (tmp_path / "broken").unlink()
        process.send_signal(signal.SIGHUP)
        until(lambda: len(now := children_of(process.pid)) == 3 and not now & before)


def test_a_second_sighup_counts_while_the_first_is_being_followed(tmp_path: Path) -> None:
    with beating(tmp_path) as process:
        before = children_of(process.pid)
        (tmp_path / "slow").touch()
        process.send_signal(signal.SIGHUP)
        until(lambda: len(children_of(process.pid) - before) >= 2)
        seen = children_of(process.pid)
        assert seen & before  # one that still leaves
        process.send_signal(signal.SIGHUP)
        until(lambda: len(now := children_of(process.pid)) == 3 and not now & seen)
        (tmp_path / "slow").unlink()


def test_a_killed_worker_is_replaced_and_only_its_requests_fail(pair: Running) -> None:
    with calling(pair, 6) as callers:
        for _ in range(3):
            until(lambda: len(workers_of(pair)) == 2)
            before, lost = workers_of(pair), len(callers.lost)
            os.kill(min(before), signal.SIGKILL)
            until(lambda before=before: len(now := workers_of(pair)) == 2 and now != before)  # type: ignore[misc]
            answered = callers.answered
            until(lambda answered=answered: callers.answered > answered + 200)  # type: ignore[misc]
            assert len(callers.lost) - lost <= 6  # one each at most: what was in flight
    assert callers.refused == 0


def test_connections_that_wait_are_served_by_the_successor(samples: Path, tmp_path: Path) -> None:
    with running(samples, "--workers", "1", "--state", str(tmp_path / "state")) as server:
        (worker,) = workers_of(server)
        os.kill(worker, signal.SIGSTOP)
        waiting = [socket.create_connection(server.address, timeout=PATIENCE) for _ in range(20)]
        for each in waiting:
            each.sendall(request())
        os.kill(worker, signal.SIGKILL)
        for each in waiting:
            with each:
                assert read_until(each, 1).startswith(b"HTTP/1.1 200")


def test_when_the_supervisor_is_killed_all_end(pair: Running) -> None:
    family = family_of(pair.process.pid)
    assert len(family) > 4  # the compiler, too
    with socket.create_connection(pair.address, timeout=PATIENCE) as idle:
        idle.sendall(request())
        read_until(idle, 1)
        pair.process.kill()
        pair.process.wait()
        until(lambda: not any(is_alive(each) for each in family))


def test_sigterm_to_all_processes_is_as_to_the_supervisor(pair: Running) -> None:
    with calling(pair, 4) as callers:
        family = family_of(pair.process.pid)
        for each in family:
            os.kill(each, signal.SIGTERM)
        assert pair.process.wait(PATIENCE) == 0
        until(lambda: callers.refused > 4)
    assert callers.lost == []
    assert not any(is_alive(each) for each in family)


def test_an_agent_that_is_killed_is_replaced(pair: Running) -> None:
    agent = agent_of(pair)
    helpers = children_of(agent)
    assert helpers
    os.kill(agent, signal.SIGKILL)
    until(lambda: agent_of(pair) != agent)
    until(lambda: not any(is_alive(each) for each in helpers))
    assert pair.manage("/readyz").status == 200
    assert all(line.startswith("{") for line in pair.log.read_text().splitlines())  # none but ours


def test_the_last_counts_are_not_lost_to_a_request_that_does_not_end(samples: Path, tmp_path: Path) -> None:
    """For which there is no time: `--shutdown-timeout 0`."""
    options = ("--state", str(tmp_path / "state"), "--counts-interval", "60", "--shutdown-timeout", "0")
    with running(samples, *options, "--body-timeout", "600") as server:
        for _ in range(3):
            assert server.post(f"{BULK}/reviews", {"context": {}}, key=SHOP).status == 200
        with socket.create_connection(server.address, timeout=PATIENCE) as stuck:
            head = f"POST {BULK} HTTP/1.1\r\nHost: a\r\nTE: x\r\nAuthorization: Bearer {SHOP}\r\n"
            stuck.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{".encode())
            until(lambda: b"burgee_http_requests_in_flight 1.0" in server.manage("/metrics").body)
            assert server.stop() == 0
    with running(samples, *options) as server:
        rows = server.manage("/evaluations?environment=shop/web/production&flag=reviews").json["evaluations"]
        assert sum(each["count"] for each in rows) == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_one_port_for_two_is_said_so(samples: Path, tmp_path: Path, host: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "server.cli", "serve", "--tenants", str(samples), "--json", "--host", host]
    command += ["--port", port, "--management-port", port, "--state", str(tmp_path / "state")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, check=False)
    assert ended.returncode == 1
    assert f"`--port` and `--management-port` are both {port}" in ended.stdout + ended.stderr
