"""The agent: the composition root of everything that does not answer evaluations.

journal -> store -> watcher, compiler, publisher -> shared page; workers' counts -> database; and the management port
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable

from aiohttp import web

from server.evaluations.collector import Collector
from server.evaluations.database import DatabaseThread
from server.evaluations.export import Export
from server.evaluations.flags import keep_pruned
from server.evaluations.messages import Counted
from server.evaluations.series import EnvironmentSeries
from server.http.failures import AnswerFailures
from server.http.listener import Runner
from server.http.management import Management
from server.metrics import AgentMetrics
from server.processes.inherited import LEAVE
from server.processes.sockets import Doors
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
    store: Store, publisher: Publisher, page: Page, metrics: AgentMetrics, export: Export
) -> web.Application:
    app = web.Application(middlewares=[AnswerFailures()])
    management = Management(store, publisher, page, metrics)
    app.router.add_get("/healthz", management.healthz)
    app.router.add_get("/readyz", management.readyz)
    app.router.add_get("/metrics", management.metrics)
    app.router.add_get("/status", management.status)
    app.router.add_get("/evaluations", export.evaluations)
    return app


async def act(
    settings: Settings,
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
    series = _series(settings, store, metrics)

    def heard(message: Counted) -> None:
        metrics.lost_counts.inc(message.lost)
        metrics.lost_events.inc(message.lost_events)
        if series:
            series.hear(message)

    database = DatabaseThread(state)
    collector = Collector(doors.agent, database, heard, metrics.count_failures.inc)

    def new_project(identity: ProjectId) -> Project:
        return Project(identity, store, files, publisher.committed, compiler, metrics, settings.settle_time)

    watcher = Watcher(settings.tenants, store, new_project)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(journal.close)
        stack.push_async_callback(database.close)
        stack.push_async_callback(collector.finish)
        stack.callback(compiler.close)
        stack.push_async_callback(watcher.stop)
        app = management_plane(store, publisher, page, metrics, Export(database, store, files))
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

        counting = (collector.run(), keep_pruned(database, store, files))
        tasks = [asyncio.create_task(each) for each in (publisher.run(), keep_up(), _beat(block), *counting)]
        os.write(ready, b"r")
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for each in tasks:
            if each in done:
                each.result()  # they only end by an exception
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _series(settings: Settings, store: Store, metrics: AgentMetrics) -> EnvironmentSeries | None:
    """None by default: no label names an environment then."""
    environments, top, flags = settings.metrics_environments, settings.metrics_top, settings.metrics_flags
    if not (environments or top or flags):
        return None
    series = EnvironmentSeries(store, environments=environments, top=top, flags=flags)
    metrics.registry.register(series)
    return series


async def _beat(block: Block) -> None:
    while True:
        block.heartbeat = time.monotonic()
        await asyncio.sleep(BEAT)
