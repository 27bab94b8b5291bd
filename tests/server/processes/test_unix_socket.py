"""The data plane on a Unix socket: beside TCP, over restarts, and never in somebody's way."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.processes.test_tls import read_until, request
from tests.server.running import PATIENCE, ROOT, Running, running, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "burgee.sock"


def ask(path: Path, sent: bytes = b"") -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        connection.sendall(sent or request())
        return read_until(connection, 1)


def test_it_serves_survives_a_restart_of_workers_and_is_removed(samples: Path, tmp_path: Path, path: Path) -> None:
    arguments = ("--unix-socket", str(path), "--workers", "2", "--state", str(tmp_path / "state"))
    with running(samples, *arguments) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        for _ in range(10):
            assert ask(path).startswith(b"HTTP/1.1 200")
        assert ask(path, request("/nothing-here")).startswith(b"HTTP/1.1 404")
        before = workers_of(server)
        server.process.send_signal(signal.SIGHUP)
        while not (now := workers_of(server)) or len(now) != 2 or now & before:
            assert ask(path).startswith(b"HTTP/1.1 200")
        assert ask(path).startswith(b"HTTP/1.1 200")
        assert server.stop() == 0
        assert not path.exists()


def workers_of(server: Running) -> set[int]:
    return {each["pid"] for each in server.manage("/status?limit=1").json["workers"]}


def test_one_that_was_left_behind_is_replaced(samples: Path, tmp_path: Path, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    arguments = ("--unix-socket", str(path), "--state", str(tmp_path / "state"))
    with running(samples, *arguments) as server:
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(PATIENCE)
        assert path.exists()
        until(lambda: not connects(path))
        until(lambda: (tmp_path / "state" / "lock").exists() and not is_locked(tmp_path / "state"))
        with running(samples, *arguments):
            assert ask(path).startswith(b"HTTP/1.1 200")


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def is_locked(state: Path) -> bool:
    command = ["flock", "--nonblock", str(state / "lock"), "true"]
    return subprocess.run(command, check=False).returncode != 0


@pytest.mark.parametrize("there", ["a server", "a file"])
def test_what_is_in_use_or_no_socket_is_left(tenants: Path, tmp_path: Path, path: Path, there: str) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        if there == "a server":
            other.bind(str(path))
            other.listen()
        else:
            path.write_text("mine")
        command = [sys.executable, "-m", "server.cli", "serve", "--tenants", str(tenants), "--port", "0"]
        command += ["--management-port", "0", "--state", str(tmp_path / "state"), "--unix-socket", str(path)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, check=False)
        assert ended.returncode != 0
        assert any(
            each in ended.stderr.replace("\n", "") and "Traceback" not in ended.stderr
            for each in ("already in use", "not a socket")
        )
        assert connects(path) if there == "a server" else path.read_text() == "mine"
