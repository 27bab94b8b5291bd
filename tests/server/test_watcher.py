"""Looks at a folder, with a compiler that is busy for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from server.store import Store

from server import keys
from server.metrics import Metrics
from server.sources import key_file
from server.sources.compiling import Compiled, Compiler, Refused
from server.sources.key_file import KeyFile
from server.sources.watcher import Watcher
from server.types import ProjectId
from tests.server.conftest import add_key


class Busy(Compiler):
    async def compile(self, document: bytes, project: ProjectId, version: int) -> Compiled | Refused:
        await asyncio.Event().wait()
        raise AssertionError


def ready(store: Store) -> bool:
    return store.ready and store.folder_problem is None


def watching(tenants: Path, steps: Callable[[Watcher, Store], Awaitable[None]]) -> None:
    async def main() -> None:
        store = Store()
        watcher = Watcher(tenants, store, Busy(0), Metrics(store), settle_time=0)
        await steps(watcher, store)
        await watcher.stop()

    asyncio.run(main())


def test_keys_wait_for_no_compilation(tenants: Path) -> None:
    (tenants / "acme" / "app.yaml").write_text("flags: {}")
    digest = keys.digest_of(add_key(tenants))

    async def steps(watcher: Watcher, store: Store) -> None:
        await watcher.look()
        while not store.grant(digest):
            await asyncio.sleep(0.01)
        key_file.write(key_file.path_of(tenants, ProjectId("acme", "app")), KeyFile(()))
        while store.grant(digest):
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
