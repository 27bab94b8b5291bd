"""Everything there is, as real processes: Redis, Postgres, a control plane, hosts; a publisher and callers beside them.

    with world(tmp_path) as it:                          near: control plane and host in one; others come by `it.host`
        with it.run() as history:                        publisher and callers, while …
            it.redis.kill(); …; it.redis.start()         … anything happens
        assert violations(history) == []

Shown of each fault: no torn, mixed, early or backward answer, no failed evaluation (those that a killed worker was just
answering are asked again), every acknowledged version in the record, versions dense, the audit chain whole with one row
for each version, and every worker at the newest version at the end. How long that took after the end of the fault is
printed; no test is gated on it.

    test_redis, test_poison             killed, stopped, flushed, older data, doorbells dropped, all of it at once; lies
    test_control_plane, test_editors    control planes, agents, workers, Postgres amid publishes; many editors
    test_from_disk                      everything down, nothing there, disks full, files damaged
    test_partition, test_newer          a network cut; a newer control plane
    test_backup, test_keys              backups with and without a new epoch; a revoked key and an old disk

`make chaos` runs the long forms (BURGEE_PROFILE=nightly).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from server.cli import main
from tests.chaos.callers import Caller, calling
from tests.chaos.generations import document_of
from tests.chaos.history import Answer, History, Publish, Settled
from tests.chaos.host import Host, free_port, until
from tests.chaos.publisher import Publisher
from tests.chaos.the_record import recorded
from tests.services import PostgresServer, RedisServer

TENANT, PROJECT, ENVIRONMENT = "shop", "web", "production"


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


def tenants_folder(folder: Path) -> tuple[Path, str, str]:
    """Generation 1 as documents, with a key that evaluates and one for edges."""
    tenants = folder / "tenants"
    (tenants / TENANT).mkdir(parents=True)
    (tenants / TENANT / f"{PROJECT}.json").write_text(json.dumps(document_of(1)))
    made = [_new_key(tenants, kind) for kind in ("server", "edge")]
    return tenants, made[0], made[1]


def _new_key(tenants: Path, kind: str) -> str:
    command = ["keys", "new", "--json", "--tenants", str(tenants), "--kind", kind]
    command += ["--tenant", TENANT, "--project", PROJECT, "--environment", ENVIRONMENT]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
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
