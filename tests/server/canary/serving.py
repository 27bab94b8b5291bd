"""A real server with a control plane, and publishes to its record as a control plane makes them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import insert, select

from engine import Snapshot
from rules_compiler import compile_flags
from server import keys
from server.record.audit import Actor, canonical
from server.record.canaries import Plan
from server.record.database import Record, Transaction, open_record
from server.record.tables import audit, versions
from server.record.tables import keys as key_rows
from server.record.versions import Candidate, commit_version, next_version
from server.types import EnvironmentId, KeyKind
from tests.server.conftest import add_key
from tests.server.running import BULK, Reply, Running, launched, request_of, until

APP = EnvironmentId("acme", "app", "default")
CONTEXT = {"context": {"targetingKey": "u-1"}}
ALICE = Actor("alice")
Result = TypeVar("Result")


def document(word: str | None, flags: int = 20) -> bytes:
    """Flags that all give this word, or the code default."""
    variants = {"a": word or "unused", "b": "other"}
    flag: dict[str, Any] = {"type": "string", "variants": variants, "rules": [{"when": "x > 1", "serve": "b"}]}
    flag["fallthrough"] = "a" if word else None
    return canonical({"environments": ["default"], "flags": {f"f{number}": flag for number in range(flags)}})


def candidate(word: str | None, number: int, environment: EnvironmentId = APP) -> Candidate:
    content = document(word)
    blob = compile_flags(content, environment=environment.environment, version=number, flag_set_id=str(environment))
    digest = hashlib.sha256(content).hexdigest()
    return Candidate(number, content, digest, blob, Snapshot.from_bytes(blob).digest, flags=20)


async def publish(record: Record, word: str | None, canary: Plan | None, environment: EnvironmentId = APP) -> int:
    async with record.look() as tx:
        expected, number = await next_version(tx, environment)
    made = candidate(word, number, environment)
    async with record.change() as tx:
        await commit_version(tx, environment, expected=expected, candidate=made, by=ALICE, canary=canary)
    return number


class Server:
    """Two or more workers, of which each request may meet any: it has a connection of its own."""

    def __init__(self, running: Running, control: str, state: Path, key: str) -> None:
        self.running = running
        self.control = control
        self.state = state
        self.key = key
        self.seen: list[tuple[str, str | None, int]] = []  # version, word, status

    def settle(self, word: str) -> None:
        """All workers answer with this word, from one version."""
        number = self.publish(word)
        until(lambda: {self.ask() for _ in range(10)} == {(str(number), word)} and self.row()["version"] == number)
        self.seen.clear()

    def publish(self, word: str | None, canary: Plan | None = None) -> int:
        return self.with_record(lambda record: publish(record, word, canary))

    def with_record(self, work: Callable[[Record], Awaitable[Result]]) -> Result:
        async def within() -> Result:
            record = await open_record(f"sqlite:///{self.state}/record.db")
            try:
                return await work(record)
            finally:
                await record.close()

        return asyncio.run(within())

    def actions(self) -> list[tuple[str, str]]:
        """Of the audit: who did what."""

        async def work(tx: Transaction) -> list[tuple[str, str]]:
            rows = await tx.execute(select(audit.c.actor, audit.c.action).order_by(audit.c.number))
            return [(row.actor, row.action) for row in rows]

        async def within(record: Record) -> list[tuple[str, str]]:
            async with record.look() as tx:
                return await work(tx)

        return self.with_record(within)

    def messages(self) -> list[str]:
        """Why each version was made."""

        async def within(record: Record) -> list[str]:
            async with record.look() as tx:
                return list(await tx.scalars(select(versions.c.message).order_by(versions.c.number)))

        return self.with_record(within)

    def ask(self) -> tuple[str, str | None]:
        """Version and word of one answer, from whichever worker takes it."""
        reply = self.running.post(BULK, CONTEXT, key=self.key)
        word = reply.json["flags"][0].get("value") if reply.status == 200 else None
        version = reply.headers.get("burgee-version", "")
        self.seen.append((version, word, reply.status))
        return version, word

    @contextmanager
    def traffic(self) -> Iterator[None]:
        """Somebody asks all the time."""
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                self.ask()

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def versions(self) -> Counter[str]:
        return Counter(version for version, _, _ in self.seen)

    def admin_key(self, role: str = "owner", tenant: str = "") -> str:
        key = keys.new_key(KeyKind.ADMIN)
        row = {"selector": keys.selector_of(key), "digest": keys.digest_of(key).hex(), "kind": "admin", "role": role}

        async def work(record: Record) -> None:
            async with record.change() as tx:
                await tx.execute(
                    insert(key_rows).values(**row, tenant=tenant, created_at=time.time(), created_by="tests")
                )

        self.with_record(work)
        return key

    def api(self, method: str, path: str, key: str, body: Any = None, **headers: str) -> Reply:
        sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else json.dumps(body).encode()
        return request_of(self.control, method, f"/api/v1{path}", content, sent)

    def row(self) -> dict[str, Any]:
        return self.running.status_of(str(APP))


@contextmanager
def serving(folder: Path, *arguments: str, workers: int = 2) -> Iterator[Server]:
    """On a record with one version of `acme/app/default`, whose flags say `one`."""
    tenants, state, log = folder / "tenants", folder / "state", folder / "server.log"
    (tenants / "acme").mkdir(parents=True)
    (tenants / "acme" / "app.json").write_bytes(document("one"))
    key = add_key(tenants)
    command = ["serve", "--import", str(tenants), "--state", str(state), "--workers", str(workers)]
    command += ["--port", "0", "--management-port", "0", "--control-port", "0", "--counts-interval", "0.2", *arguments]
    with launched(command, log, cwd=folder) as (addresses, process):
        running = Running(addresses["data"], addresses["management"], process, log)
        server = Server(running, addresses["control"], state, key)
        until(lambda: server.ask() == ("1", "one"))
        server.seen.clear()
        yield server
