"""Server processes that are measured: started on free ports, waited for, asked what they use, always stopped.

    with serving(tenants, "--tenant-requests", "100") as server:
        server.data                     "http://127.0.0.1:41207"
        before = usage(server.pid)
        …
        usage(server.pid).since(before).seconds     CPU of the server and of all its descendants

A server may be a supervisor with workers, so what is counted is always the whole tree. `worker_seconds` are of the
processes that the kernel knows as `burgee-worker`; where there is none, the process that was started is the worker.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
CONTROLS = Path(os.environ.get("BURGEE_LIMITS", ROOT.parent / "shared" / "limits")) / "control_server.py"
WORKER = "burgee-worker"
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 120.0  # seconds until a server that does not start, or does not stop, is given up


class Unavailable(RuntimeError):
    """Something that the measurement needs is not there; the message says what to do."""


@dataclass(frozen=True)
class Usage:
    seconds: float  # CPU, user and system, of the tree, also of its processes that have ended
    worker_seconds: float
    workers: int
    bytes: int  # memory, pages that are shared counted once

    def since(self, before: Usage) -> Usage:
        return Usage(
            round(self.seconds - before.seconds, 3),
            round(self.worker_seconds - before.worker_seconds, 3),
            self.workers,
            self.bytes,
        )


@dataclass(frozen=True)
class Server:
    data: str
    management: str
    pid: int
    control: str = ""  # where there is a control plane

    @property
    def port(self) -> int:
        return urlsplit(self.data).port or 80


def usage(pid: int, *, memory: bool = False) -> Usage:
    """What the process and its descendants have used until now; `bytes` is 0 unless `memory` is asked for."""
    members = tree(pid)
    workers = [each for each in members if each.name == WORKER] or [each for each in members if each.pid == pid]
    return Usage(
        sum(each.seconds + each.ended_seconds for each in members),
        sum(each.seconds for each in workers),
        len(workers),
        sum(_memory(each.pid) for each in members) if memory else 0,
    )


@dataclass(frozen=True)
class Member:
    pid: int
    parent: int
    name: str
    seconds: float
    ended_seconds: float  # of its children that have ended and were waited for

    def memory(self) -> int:
        """Bytes; pages that are shared are divided among those that share them."""
        return _memory(self.pid)

    def descriptors(self) -> int:
        """Raises OSError when it has ended."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def tree(root: int) -> list[Member]:
    """The process and its descendants; none when it has ended."""
    children: dict[int, list[Member]] = {}
    members: list[Member] = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                each = member_of(int(entry.name))
                children.setdefault(each.parent, []).append(each)
                if each.pid == root:
                    members.append(each)
    for each in members:  # grows while it is walked
        members.extend(children.get(each.pid, ()))
    return members


def member_of(pid: int) -> Member:
    before, _, after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    fields = after.split()
    user, system, ended_user, ended_system = (int(field) for field in fields[11:15])
    return Member(
        pid, int(fields[1]), before.partition("(")[2], (user + system) / TICKS, (ended_user + ended_system) / TICKS
    )


def _memory(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


@contextmanager
def serving(tenants: Path, *options: str, log: Path | None = None) -> Iterator[Server]:
    """`burgee serve` on that folder, ready, its state beside it; stopped by its process id, whatever happens."""
    with burgee("serve", tenants.with_name("state"), "--tenants", str(tenants), *options, log=log) as server:
        yield server


@contextmanager
def burgee(command_name: str, state: Path, *options: str, log: Path | None = None) -> Iterator[Server]:
    """`burgee serve` or `burgee edge` with these options, as `serving`."""
    command = [sys.executable, "-m", "server.cli", command_name, "--json", "--state", str(state), "--port", "0"]
    command += ["--management-port", "0", *options]
    with (
        (log or Path(os.devnull)).open("wb") as errors,
        _stopped_after(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=_environment(), cwd=state.parent)
        ) as process,
    ):
        try:
            addresses = json.loads(_first_object(process))
        except ValueError:
            said = log.read_text(errors="replace").strip() if log else "(no log was asked for)"
            raise Unavailable(f"the server did not start: {' '.join(command)}\n{said}") from None
        server = Server(addresses["data"], addresses["management"], process.pid, addresses.get("control", ""))
        _until_ready(server, process)
        yield server


@contextmanager
def control(kind: str) -> Iterator[Server]:
    """A control server: `constant` writes the same bytes at every read, `aiohttp` is a plain handler."""
    if not CONTROLS.exists():
        raise Unavailable(f"there is no {CONTROLS} (hint: BURGEE_LIMITS names the folder of control_server.py)")
    port = free_port()
    with _stopped_after(
        subprocess.Popen(
            [sys.executable, str(CONTROLS), kind, str(port)], env=_environment(), stdout=subprocess.DEVNULL
        )
    ) as process:
        deadline = time.monotonic() + PATIENCE
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"the control server did not start: {CONTROLS} {kind}")
            time.sleep(0.05)
        yield Server(f"http://127.0.0.1:{port}", "", process.pid)


def add_server_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=1, help="processes of the server that answer (default: 1)")
    parser.add_argument(
        "--server-option",
        action="append",
        default=[],
        metavar="WORD",
        help="given to `burgee serve` as it is; repeat it; write --server-option=--tenant-requests --server-option=100",
    )


def server_options(options: argparse.Namespace) -> tuple[str, ...]:
    return ("--workers", str(options.workers), *options.server_option)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end_on_sigterm() -> None:
    """SIGTERM unwinds as Ctrl-C does, so that servers are stopped then too."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)


def _environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@contextmanager
def _stopped_after(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except BaseException:  # a second Ctrl-C included
                process.kill()
                process.wait()
                raise
        if process.stdout is not None:
            process.stdout.close()


def _first_object(process: subprocess.Popen[bytes]) -> bytes:
    """The lines of the addresses. A server with many tenants prints them late, but it prints them."""
    assert process.stdout is not None
    lines, deadline = b"", time.monotonic() + 10 * PATIENCE
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not lines.rstrip().endswith(b"}") and time.monotonic() < deadline:
            if selector.select(1.0):
                part = os.read(process.stdout.fileno(), 65536)
                if not part:
                    break
                lines += part
    return lines


def _until_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10 * PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{server.management}/readyz", timeout=10) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise Unavailable("the server did not get ready")
