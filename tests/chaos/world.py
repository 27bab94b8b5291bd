"""Everything there is, as real processes: Redis, Postgres, a control plane, hosts; a publisher and callers beside them.

    with world(tmp_path) as it:                          near: control plane and host in one; others come by `it.host`
        with it.run() as history:                        publisher and callers, while …
            it.redis.kill(); …; it.redis.start()         … anything happens
        assert violations(history) == []

What is shown of each fault: no torn, lost, mixed, early or backward answer, no failed evaluation (but of those that a
killed worker was just answering, which are asked again), every acknowledged version in the record, versions dense, the
audit chain whole, and every worker at the newest version at the end. How long that took after the fault is printed; no
test is gated on it.

`make chaos` runs the long forms (BURGEE_PROFILE=nightly).
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.callers import Caller, calling
from tests.chaos.generations import document_of
from tests.chaos.history import Answer, History, Publish, Settled
from tests.chaos.publisher import Publisher
from tests.chaos.the_record import Recorded, recorded
from tests.server.processes.callers import children_of, family_of, is_alive
from tests.server.running import ROOT
from tests.services import PostgresServer, RedisServer

NIGHTLY = os.environ.get("BURGEE_PROFILE") == "nightly"
PATIENCE = 90.0  # seconds until something that must happen is given up; never a measure of speed
TENANT, PROJECT, ENVIRONMENT = "shop", "web", "production"


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


@dataclass
class World:
    folder: Path
    near: Host
    control_port: int
    database: str
    server_key: str
    edge_key: str
    redis: RedisServer | None = None
    postgres: PostgresServer | None = None
    hosts: list[Host] = field(default_factory=list)  # that are called and must converge
    published: list[Publish] = field(default_factory=list)  # since the record began
    restored: bool = False
    lost_with_the_backup: set[int] = field(default_factory=set)
    callers: list[Caller] = field(default_factory=list)

    @property
    def control_url(self) -> str:
        return f"http://127.0.0.1:{self.control_port}"

    @property
    def admin_key(self) -> str:
        path = self.near.state / "admin.key"
        key: str = until(lambda: path.exists() and path.read_text().strip(), "an admin key")
        return key

    def publisher(self) -> Publisher:
        return Publisher(("127.0.0.1", self.control_port), self.admin_key, self.published)

    def host(self, name: str, *arguments: str, upstream: str | None = None, **given: Any) -> Host:
        """Another that asks the control plane, with the edge key; not started yet."""
        key_file = self.folder / f"{name}.key"
        key_file.write_text(self.edge_key)
        upstream_arguments = ("--upstream", upstream or self.control_url, "--upstream-key-file", str(key_file))
        return Host(name, self.folder / name, (*upstream_arguments, *arguments), **given)

    @contextmanager
    def started(self, host: Host) -> Iterator[Host]:
        host.start()
        self.hosts.append(host)
        try:
            yield host
        finally:
            self.hosts.remove(host)
            host.stop()

    @contextmanager
    def run(self, *, publishing: bool = True, callers: int = 2) -> Iterator[History]:
        """Publishes and evaluations go on within; afterwards all settles, and what was recorded is in the history."""
        history = History(
            published=self.published, restored=self.restored, lost_with_the_backup=self.lost_with_the_backup
        )
        publisher = self.publisher() if publishing else None
        with contextlib.ExitStack() as stack:
            self.callers = []
            for host in self.hosts:
                made = stack.enter_context(
                    calling(host.data_address, self.server_key, history, host=host.name, callers=callers)
                )
                self.callers += made
            if publisher:
                stack.enter_context(publisher.publishing())
            yield history
            if publisher:
                publisher.stop()
            self.settle(history, last=True)
        now = recorded(self.database, f"{TENANT}/{PROJECT}", ENVIRONMENT)
        assert now.audit_faults == [], now.audit_faults
        history.recorded, history.audited, history.restored = now.generations, now.audited, self.restored

    @contextmanager
    def killing(self) -> Iterator[None]:
        """Callers may lose connections meanwhile, but never an evaluation."""
        for each in self.callers:
            each.killing.set()
        try:
            yield
            time.sleep(0.2)  # those that are answered no more notice
        finally:
            for each in self.callers:
                each.killing.clear()

    def newest(self) -> int:
        return max((each.version or 0 for each in self.published), default=0)

    def settle(self, history: History, *, least: int = 0, last: bool = False) -> float:
        """Until every worker of every host answers from the newest version; how many seconds that took."""
        since = time.monotonic()
        seen: list[Answer] = []

        def settled() -> bool:
            least_version = least or recorded_newest(self)
            seen.clear()
            for host in self.hosts:
                answers = probe(host, self.server_key)
                if answers is None or any(each.version < least_version for each in answers):
                    return False
                seen.extend(answers)
                history.settled.append(Settled(time.monotonic(), min(each.version for each in answers), host.name))
            return True

        until(settled, f"all workers answer from {least or 'the newest'}: {[h.log[-1500:] for h in self.hosts]}")
        if last:
            history.served_at_the_end = list(seen)
        return time.monotonic() - since


def recorded_newest(it: World) -> int:
    return max(recorded(it.database, f"{TENANT}/{PROJECT}", ENVIRONMENT).generations, default=0)


def probe(host: Host, key: str) -> list[Answer] | None:
    """One answer over each of many connections, so of every worker, but by rare chance. None: not all answer."""
    history = History()
    caller = Caller(host.data_address, key, history, host.name)
    caller.killing.set()
    answers = []
    for _ in range(8 * host.workers):
        answer = caller.ask()
        caller._close()
        if answer is None:
            return None
        answers.append(answer)
    return answers


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def tenants_folder(folder: Path) -> tuple[Path, str, str]:
    """Generation 1 as documents, with a key that evaluates and one for edges."""
    tenants = folder / "tenants"
    (tenants / TENANT).mkdir(parents=True)
    (tenants / TENANT / f"{PROJECT}.json").write_text(json.dumps(document_of(1)))
    made = [_new_key(tenants, kind) for kind in ("server", "edge")]
    return tenants, made[0], made[1]


def _new_key(tenants: Path, kind: str) -> str:
    command = [sys.executable, "-m", "server.cli", "keys", "new", "--json", "--tenants", str(tenants), "--kind", kind]
    command += ["--tenant", TENANT, "--project", PROJECT, "--environment", ENVIRONMENT]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    key: str = json.loads(done.stdout)["key"]
    return key


@contextmanager
def world(
    folder: Path, *arguments: str, redis: bool = False, postgres: bool = False, workers: int = 2
) -> Iterator[World]:
    tenants, server_key, edge_key = tenants_folder(folder)
    with contextlib.ExitStack() as stack:
        its_redis = stack.enter_context(RedisServer()) if redis else None
        its_postgres = stack.enter_context(PostgresServer()) if postgres else None
        database = its_postgres.new_database() if its_postgres else f"sqlite:///{folder / 'near' / 'record.db'}"
        control_port = free_port()
        near = Host(
            "near",
            folder / "near",
            (
                *("--database", database, "--import", str(tenants), "--control-port", str(control_port)),
                *(("--redis", its_redis.url) if its_redis else ()),
                *arguments,
            ),
            workers=workers,
        )
        it = World(folder, near, control_port, database, server_key, edge_key, its_redis, its_postgres, [near])
        began = time.monotonic()
        stack.callback(near.stop)
        near.start()
        it.published.append(Publish(1, began, time.monotonic(), 1))
        until(lambda: (seen := probe(near, server_key)) and min(each.version for each in seen) >= 1, "generation 1")
        yield it


__all__ = ["History", "Host", "Recorded", "World", "probe", "scaled", "until", "world"]
