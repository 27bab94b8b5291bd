"""Control planes, a real Redis and hosts in one process: what is published on one side is looked for on the other.

async with world(tmp_path, redis.url) as here:          a record on SQLite, a relay, a host
    number = await here.origin.publish(WEB, "one")
    await here.host.has(WEB, number, "one")
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Self

from prometheus_client import CollectorRegistry
from sqlalchemy import insert

from engine import Snapshot
from server.control.feed import Feed
from server.metrics import AgentMetrics
from server.record.audit import SYSTEM
from server.record.database import Record, open_record
from server.record.projects import record_of
from server.record.tables import environments, metadata, projects, tenants
from server.record.versions import Candidate, commit_version, next_version
from server.shared.page import Page
from server.state.records import ProjectRecord
from server.state.snapshots import SnapshotFiles
from server.state.store import Store
from server.sync import redis_relay, redis_source
from server.sync.redis_client import RedisClient, parse_address
from server.sync.redis_relay import RedisRelay
from server.sync.redis_source import RedisSource
from server.sync.replica import Replica
from server.types import EnvironmentId, ProjectId
from tests.server.state.publishing import CONTEXT, snapshot

WEB = ProjectId("shop", "web")
PATIENCE = 60.0  # seconds, on a machine that is busy with other things
NEVER = (3600.0, 3600.0)  # a pace: that way is cut

RELAY_PACE = redis_relay.Pace(outbox=(0.1, 0.2), comparison=(0.2, 0.4))
SOURCE_PACE = redis_source.Pace(stream=(0.1, 0.2), listing=(0.2, 0.4))


class Origin:
    """A control plane's record, and its feed. Several may be of one database."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.feed = Feed()

    @classmethod
    async def open(cls, url: str) -> Self:
        record = await open_record(url)
        async with record.change() as tx:
            await tx.run_sync(metadata.create_all)
        return cls(record)

    async def add(self, *names: ProjectId) -> None:
        async with self.record.change() as tx:
            for tenant in dict.fromkeys(each.tenant for each in names):
                await tx.execute(insert(tenants).values(name=tenant, created_at=0.0))
            for each in names:
                row = {"tenant": each.tenant, "created_at": 0.0}
                await tx.execute(insert(projects).values(name=each.project, **row))
                await tx.execute(insert(environments).values(project=each.project, name="production", place=0, **row))

    async def publish(self, project: ProjectId, word: str, *, tell: bool = True) -> int:
        """The project's number afterwards. `tell=False`: the process died between the commit and telling."""
        environment = EnvironmentId(*project, "production")
        blob, document = compiled(word), word.encode()
        async with self.record.change() as tx:
            newest, number = await next_version(tx, environment)
            digest = Snapshot.from_bytes(blob).digest
            candidate = Candidate(number, document, hashlib.sha256(document).hexdigest(), blob, digest, 1)
            await commit_version(tx, environment, expected=newest, candidate=candidate, by=SYSTEM)
            record = await record_of(tx, project)
        assert record is not None
        if tell:
            self.feed.changed(project, record.version)
        return record.version

    async def record_of(self, project: ProjectId) -> ProjectRecord:
        async with self.record.look() as tx:
            found = await record_of(tx, project)
        assert found is not None
        return found


class Host:
    """What an agent has, but for its workers."""

    def __init__(self, state: Path) -> None:
        state.mkdir(exist_ok=True)
        page = Page(1)
        self.installed: list[tuple[ProjectId, int]] = []
        self.files = SnapshotFiles(state)
        self.store = Store(page, lambda record: self.installed.append((record.id, record.version)))
        self.metrics = AgentMetrics(self.store, page)
        self.replica = Replica(self.store, self.files, _nothing, self.metrics, state)

    def number(self, project: ProjectId) -> int:
        return self.replica.number_of(project)

    def word(self, project: ProjectId) -> str | None:
        record = self.store.record(project)
        for each in record.environments:
            found = self.files.map(record.environment_id(each.name), each)
            value: str = json.loads(found.evaluate_json(CONTEXT, "f"))["value"]
            return value
        return None

    async def has(self, project: ProjectId, number: int, word: str) -> None:
        await until(lambda: self.number(project) >= number, lambda: f"{project} is at {self.number(project)}")
        assert (self.number(project), self.word(project)) == (number, word)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


class World:
    """`parts` are what is running; to be added to."""

    def __init__(self, origin: Origin, host: Host, redis: RedisClient, relay: RedisRelay, source: RedisSource) -> None:
        self.origin, self.host, self.redis, self.relay, self.source = origin, host, redis, relay, source
        self.counts = CollectorRegistry()


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    url: str,
    *,
    database: str = "",
    relay_pace: redis_relay.Pace = RELAY_PACE,
    source_pace: redis_source.Pace = SOURCE_PACE,
    source_url: str = "",
    elsewhere: redis_source.Elsewhere | None = None,
    add: tuple[ProjectId, ...] = (WEB,),
) -> AsyncIterator[World]:
    origin = await Origin.open(database or f"sqlite:///{folder / 'record.db'}")
    if add:
        await origin.add(*add)
    redis, redis_of_host = RedisClient(parse_address(url)), RedisClient(parse_address(source_url or url))
    host, registry = Host(folder / "host"), CollectorRegistry()
    relay = RedisRelay(origin.record, origin.feed, redis, registry, relay_pace)
    source = RedisSource(redis_of_host, host.replica, host.metrics.registry, elsewhere=elsewhere, pace=source_pace)
    here = World(origin, host, redis, relay, source)
    here.counts = registry
    try:
        async with running(relay.run(), source.run()):
            yield here
    finally:
        await redis.close()
        await redis_of_host.close()
        await origin.record.close()


@contextlib.asynccontextmanager
async def running(*what: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Until the body ends. A task that ends by itself is a fault."""
    tasks = [asyncio.ensure_future(each) for each in what]
    try:
        yield
        assert not any(each.done() for each in tasks)
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(
    true: Callable[[], bool | Awaitable[bool]], otherwise: Callable[[], str] = lambda: "it does not become true"
) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        found = true()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, otherwise()
        await asyncio.sleep(0.01)


@functools.lru_cache
def compiled(word: str) -> bytes:
    return snapshot(word)


async def _nothing() -> None:
    pass
