"""The agent: the composition root of everything that does not answer evaluations.

journal -> store -> watcher, compiler, publisher -> shared page; and the management port
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable

from aiohttp import web

from server.http.failures import AnswerFailures
from server.http.listener import Runner
from server.http.management import Management
from server.metrics import AgentMetrics
from server.processes.inherited import LEAVE
from server.processes.sockets import Doors
from server.quotas import Quotas
from server.settings import Settings
from server.shared.page import Block, Page
from server.sources.compiling import Compiler
from server.sources.project import Project
from server.sources.watcher import Progress, Watcher
from server.state.journal import Journal
from server.state.publisher import Publisher
from server.state.snapshots import SnapshotFiles
from server.state.store import Store
from server.types import ProjectId

BEAT = 1.0  # seconds


def management_plane(
    store: Store, publisher: Publisher, page: Page, metrics: AgentMetrics, quotas: Quotas
) -> web.Application:
    app = web.Application(middlewares=[AnswerFailures()])
    management = Management(store, publisher, page, metrics, quotas)
    app.router.add_get("/healthz", management.healthz)
    app.router.add_get("/readyz", management.readyz)
    app.router.add_get("/metrics", management.metrics)
    app.router.add_get("/status", management.status)
    return app


async def act(
    settings: Settings,
    quotas: Quotas,
    page: Page,
    block: Block,
    management: socket.socket,
    doors: Doors,
    *,
    ready: int,
    alive: int,
    loaded: Callable[[], None],
    progress: Progress | None = None,
) -> None:
    """Publish what the folder says until LEAVE. Raises OSError, JournalError when the state folder is no use."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(LEAVE, stop.set)
    loop.add_reader(alive, stop.set)
    state = settings.state_folder()
    journal, files = Journal(state), SnapshotFiles(state)
    publisher = Publisher(journal, files, page, doors.ring)
    store = Store(page, publisher.publish, journal.records.values())
    metrics = AgentMetrics(store, page)
    if not page.confirmed_at:
        page.confirmed_at = time.monotonic()
    compiler = Compiler(settings.compile_workers)

    def new_project(identity: ProjectId) -> Project:
        return Project(identity, store, files, publisher.committed, compiler, metrics, settings.settle_time)

    watcher = Watcher(settings.tenants, store, new_project)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(journal.close)
        stack.callback(compiler.close)
        stack.push_async_callback(watcher.stop)
        app = management_plane(store, publisher, page, metrics, quotas)
        runner = Runner(
            app,
            head_timeout=settings.head_timeout,
            keepalive_timeout=settings.keepalive_timeout,
            shutdown_timeout=1.0,
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, management).start()

        async def keep_up() -> None:
            await watcher.load(progress)
            await publisher.committed()
            loaded()
            await watcher.watch(settings.poll_interval)

        tasks = [asyncio.create_task(each) for each in (publisher.run(), keep_up(), _beat(block))]
        os.write(ready, b"r")
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for each in tasks:
            if each in done:
                each.result()  # they only end by an exception
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _beat(block: Block) -> None:
    while True:
        block.heartbeat = time.monotonic()
        await asyncio.sleep(BEAT)
