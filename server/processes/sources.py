"""Where an agent gets what it publishes: one of these, whichever the settings name.

--tenants FOLDER    FolderSource     documents, compiled here
--upstream URL      SyncedSource     another Burgee
neither             SyncedSource     the control plane of this server, by its Unix socket; through Redis where named
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from server.metrics import AgentMetrics
from server.processes.sockets import CONTROL_SOCKET, short
from server.settings import Settings
from server.sources.compiling import Compiler
from server.sources.project import Project
from server.sources.watcher import Progress, Watcher
from server.state.publisher import Publisher
from server.state.snapshots import SnapshotFiles
from server.state.store import Store
from server.sync.asking import UNIX, Asker
from server.sync.redis_client import RedisClient, parse_address
from server.sync.redis_source import RedisSource
from server.sync.replica import Replica
from server.sync.upstream import Upstream
from server.types import EnvironmentId, ProjectId


class Source(Protocol):
    async def load(self, progress: Progress | None) -> None:
        """Until all was tried once, beside `run`."""

    async def run(self) -> None:
        """Until cancelled."""

    def suspect(self, environment: EnvironmentId) -> None:
        """A worker could not map what is published of it."""

    async def stop(self) -> None: ...


Make = Callable[[Settings, Store, SnapshotFiles, Publisher, AgentMetrics], Source]


def source_of(
    settings: Settings, store: Store, files: SnapshotFiles, publisher: Publisher, metrics: AgentMetrics
) -> Source:
    """Raises OSError when the file with the keys of the upstream cannot be read."""
    make: Make = FolderSource if settings.tenants is not None else SyncedSource
    return make(settings, store, files, publisher, metrics)


def source_kind(settings: Settings) -> str:
    """As /status and reports name it."""
    if settings.tenants is not None:
        return "folder"
    if settings.redis is not None:
        return "redis"
    return "upstream" if settings.upstream is not None else "control"


class FolderSource:
    def __init__(
        self, settings: Settings, store: Store, files: SnapshotFiles, publisher: Publisher, metrics: AgentMetrics
    ) -> None:
        assert settings.tenants is not None
        self._compiler = compiler = Compiler(settings.compile_workers)
        self._interval = settings.poll_interval

        def new_project(identity: ProjectId) -> Project:
            return Project(identity, store, files, publisher.committed, compiler, metrics, settings.settle_time)

        self._watcher = Watcher(settings.tenants, store, new_project)
        self._loaded = asyncio.Event()

    async def load(self, progress: Progress | None) -> None:
        await self._watcher.load(progress)
        self._loaded.set()

    async def run(self) -> None:
        await self._loaded.wait()
        await self._watcher.watch(self._interval)

    def suspect(self, environment: EnvironmentId) -> None:
        self._watcher.suspect(environment.project_id)

    async def stop(self) -> None:
        await self._watcher.stop()
        self._compiler.close()


class SyncedSource:
    def __init__(
        self, settings: Settings, store: Store, files: SnapshotFiles, publisher: Publisher, metrics: AgentMetrics
    ) -> None:
        state = settings.state_folder()
        self._replica = Replica(store, files, publisher.committed, metrics, state)
        self._upstream = upstream = Upstream(askers_of(settings, state), self._replica)
        self._redis: RedisClient | None = None
        if settings.redis is not None:
            self._redis = RedisClient(parse_address(settings.redis))
            registry = metrics.registry
            self._through_redis = RedisSource(self._redis, self._replica, registry, elsewhere=upstream.fetch)
        self._suspecting: set[asyncio.Task[None]] = set()

    async def load(self, progress: Progress | None) -> None:
        await self._replica.load(progress)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._upstream.run())
            if self._redis is not None:
                tasks.create_task(self._through_redis.run())

    def suspect(self, environment: EnvironmentId) -> None:
        task = asyncio.create_task(self._replica.suspect(environment))
        self._suspecting.add(task)
        task.add_done_callback(self._suspecting.discard)

    async def stop(self) -> None:
        for each in self._suspecting:
            each.cancel()
        if self._redis is not None:
            await self._redis.close()


def askers_of(settings: Settings, state: Path) -> list[Asker]:
    """Raises OSError."""
    if settings.upstream is None:
        return [Asker(UNIX + short(state / CONTROL_SOCKET))]
    keys = keys_in(settings.upstream_key_file) if settings.upstream_key_file is not None else [""]
    url = settings.upstream
    if url.startswith(UNIX):
        url = UNIX + short(Path(url.removeprefix(UNIX)))
    return [Asker(url, key) for key in keys]


def keys_in(path: Path) -> list[str]:
    """One a line; empty lines, and what begins with `#`, are passed over. Raises OSError."""
    lines = (line.strip() for line in path.read_text(errors="replace").splitlines())
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise OSError("there is no key in the file")
    return list(dict.fromkeys(found))
