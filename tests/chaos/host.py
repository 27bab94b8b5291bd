"""A host: `burgee serve` as a real process, at ports that stay the same however often it is killed and started again.

host = Host("far", folder, ("--upstream", url, …))
host.start(); host.kill_worker(0); host.kill_slot("burgee-agent"); host.kill(); host.start()
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.server.processes.callers import children_of, family_of, is_alive
from tests.server.running import ROOT

NIGHTLY = os.environ.get("BURGEE_PROFILE") == "nightly"
PATIENCE = 600.0 if NIGHTLY else 90.0  # seconds until something that must happen is given up; never a measure of speed


def scaled(quick: int, long: int) -> int:
    return long if NIGHTLY else quick


def until(holds: Callable[[], Any], what: str) -> Any:
    """The first true value; an error says what did not come to hold."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(0.02)
    raise AssertionError(f"it did not come to hold: {what}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass
class Host:
    """`burgee serve` at ports that stay the same, however often it is started."""

    name: str
    folder: Path
    arguments: Sequence[str]
    workers: int = 2
    address: str = "127.0.0.1"
    inside: Sequence[str] = ()  # the command that starts it elsewhere: ("ip", "netns", "exec", "far")
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.management_port = free_port(), free_port()

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def data_address(self) -> tuple[str, int]:
        return self.address, self.port

    def start(self, *, ready: bool = True) -> None:
        assert self.process is None, "it runs already"
        command = [*self.inside, sys.executable, "-m", "server.cli", "serve", "--workers", str(self.workers)]
        command += ["--host", self.address, "--port", str(self.port), "--state", str(self.state)]
        command += ["--management-host", self.address, "--management-port", str(self.management_port), *self.arguments]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
            )
        if ready:
            until(self.is_ready, f"{self.name} is ready")

    def is_ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, f"{self.name} ended:\n{self.log[-3000:]}"
        return self.manage("/readyz")[0] == 200

    def manage(self, path: str) -> tuple[int, bytes]:
        """Status 0: nobody answers at the moment."""
        connection = http.client.HTTPConnection(self.address, self.management_port, timeout=10)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = until(
            lambda: (answer := self.manage("/status"))[0] == 200 and json.loads(answer[1]), ""
        )
        return found

    def metric(self, name: str) -> float:
        """The sum over all its labels."""
        _, text = until(lambda: (answer := self.manage("/metrics"))[0] == 200 and answer, f"{self.name} has metrics")
        lines = [line.split() for line in text.decode().splitlines() if line.startswith(name)]
        return sum(float(value) for full, value in lines if full.partition("{")[0] == name)

    def slots(self, title: str) -> list[int]:
        """Processes by their title, as prctl set it: burgee-agent, burgee-control, burgee-worker."""
        assert self.process is not None
        return [each for each in children_of(self.supervisor) if is_alive(each, title)]

    @property
    def supervisor(self) -> int:
        """Its own process, or what `inside` made of it (which `ip netns exec` replaces by it)."""
        assert self.process is not None
        return self.process.pid

    def kill_slot(self, title: str, number: int = 0) -> int:
        """SIGKILL to one of them, as soon as there is one; its pid."""
        pid: int = until(lambda: (found := sorted(self.slots(title))) and found[number % len(found)], title)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return pid

    def kill_worker(self, number: int) -> None:
        """And wait for its successor."""
        before = set(self.slots("burgee-worker"))
        killed = self.kill_slot("burgee-worker", number)
        until(
            lambda: len(now := set(self.slots("burgee-worker")) - {killed}) == self.workers and now - before,
            "another worker in its place",
        )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is None:
            return
        process, self.process = self.process, None
        family = family_of(process.pid)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        deadline = time.monotonic() + 30
        while any(map(is_alive, family)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for each in family:
            if is_alive(each):
                os.kill(each, signal.SIGKILL)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)
