"""Looks at a folder, with a compiler that is busy for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from server import keys
from server.metrics import AgentMetrics
from server.shared.page import Page
from server.sources import key_file
from server.sources.compiling import Compiled, Compiler, Refused
from server.sources.key_file import KeyFile
from server.sources.project import Project
from server.sources.watcher import Watcher
from server.state.snapshots import SnapshotFiles
from server.state.store import Store
from server.types import ProjectId
from tests.server.conftest import add_key


class Busy(Compiler):
    async def compile(self, document: bytes, project: ProjectId, version: int) -> Compiled | Refused:
        await asyncio.Event().wait()
        raise AssertionError


def held(store: Store) -> set[bytes]:
    return {key.digest for key in store.record(ProjectId("acme", "app")).keys}


def ready(store: Store) -> bool:
    return store.ready and store.folder_problem is None


async def at_once() -> None:
    """In place of a commit."""


def watching(tenants: Path, steps: Callable[[Watcher, Store], Awaitable[None]]) -> None:
    async def main() -> None:
        page = Page(1)
        store, files = Store(page, lambda record: None), SnapshotFiles(tenants.with_name("state"))
        metrics = AgentMetrics(store, page)

        def new_project(identity: ProjectId) -> Project:
            return Project(identity, store, files, at_once, Busy(0), metrics, settle_time=0)

        watcher = Watcher(tenants, store, new_project)
        await steps(watcher, store)
        await watcher.stop()

    asyncio.run(main())


def test_keys_wait_for_no_compilation(tenants: Path) -> None:
    (tenants / "acme" / "app.yaml").write_text("flags: {}")
    digest = keys.digest_of(add_key(tenants))

    async def steps(watcher: Watcher, store: Store) -> None:
        await watcher.look()
        while digest not in held(store):
            await asyncio.sleep(0.01)
        key_file.write(key_file.path_of(tenants, ProjectId("acme", "app")), KeyFile(()))
        while digest in held(store):
            await watcher.look()
            await asyncio.sleep(0.01)

    watching(tenants, steps)


def test_not_ready_before_the_folder_was_seen(tenants: Path) -> None:
    aside = tenants.rename(tenants.with_name("aside"))

    async def steps(watcher: Watcher, store: Store) -> None:
        loading = asyncio.create_task(watcher.load())
        while not store.folder_problem:
            await asyncio.sleep(0)
        assert not ready(store)
        aside.rename(tenants)
        await loading
        assert ready(store)

    watching(tenants, steps)
