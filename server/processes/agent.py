"""The agent: the composition root of everything that does not answer evaluations.

journal -> store -> source (sources.py) -> publisher -> shared page; workers' counts -> database; the management port
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from aiohttp import web
from prometheus_client import Gauge

from server.evaluations.collector import Collector
from server.evaluations.database import DatabaseThread
from server.evaluations.export import Export
from server.evaluations.flags import keep_pruned
from server.evaluations.messages import Counted
from server.evaluations.series import EnvironmentSeries
from server.http.failures import AnswerFailures
from server.http.listener import listen
from server.http.management import Management
from server.metrics import AgentMetrics
from server.processes.control_metrics import metrics_of
from server.processes.inherited import LEAVE, leave_with
from server.processes.sockets import CONTROL_SOCKET, Doors, short
from server.processes.sources import Source, askers_of, source_kind, source_of
from server.quotas import Quotas
from server.settings import Settings
from server.shared.page import Block, Page
from server.sources.watcher import Progress
from server.state.catalog import JOURNAL
from server.state.journal import Journal
from server.state.origin import FOLDER, HOLD, NOTE, NOTHING, note_source, noted_source
from server.state.publisher import Publisher
from server.state.records import ProjectRecord
from server.state.snapshots import SnapshotFiles
from server.state.store import Store
from server.sync.reporting import Reporter, Standing, host_name
from server.sync.trials import Trials
from server.types import EnvironmentId

BEAT = 1.0  # seconds
LOCK = "lock"  # a file of the state folder; its time is when the sources were last looked at


def management_plane(
    store: Store,
    publisher: Publisher,
    page: Page,
    metrics: AgentMetrics,
    quotas: Quotas,
    export: Export,
    *,
    workers: int = 1,
    source: str = "folder",
    beside: Callable[[str], Awaitable[bytes]] | None = None,
) -> web.Application:
    app = web.Application(middlewares=[AnswerFailures()])
    management = Management(store, publisher, page, metrics, quotas, workers=workers, source=source, beside=beside)
    app.router.add_get("/healthz", management.healthz)
    app.router.add_get("/readyz", management.readyz)
    app.router.add_get("/metrics", management.metrics)
    app.router.add_get("/status", management.status)
    app.router.add_get("/evaluations", export.evaluations)
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
    """Publish what its source says until LEAVE. Raises OSError when the state folder is no use."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(LEAVE, stop.set)
    leave_with(alive, stop)
    state = settings.state_folder()
    kind = NOTHING if settings.tenants is None else FOLDER  # until a source says which record it is
    if noted_source(state) == NOTHING and not (kind == NOTHING and (state / NOTE).exists()):
        note_source(state, kind)  # or the journal would be taken for a folder's; a disk that has it may be read-only
    journal, files = Journal(state, page.position), SnapshotFiles(state)
    if journal.damage:
        structlog.get_logger("agent").error(
            "the journal was damaged and is put aside; what it lacks is published anew", why=journal.damage
        )
    publisher = Publisher(journal, files, page, doors.ring)
    store = Store(page, publisher.publish, journal.records.values())
    metrics = AgentMetrics(store, page)
    failing = Gauge(
        "burgee_journal_failing", "1 while what is installed cannot be written for workers", registry=metrics.registry
    )
    failing.set_function(lambda: float(publisher.problem is not None))
    if not page.confirmed_at:  # the first agent: what is on disk is as old as the last look of the server before
        page.confirmed_at = time.monotonic() - max(0.0, time.time() - (state / LOCK).stat().st_mtime)
    series = _series(settings, store, metrics)

    def heard(message: Counted) -> None:
        metrics.lost_counts.inc(message.lost)
        metrics.lost_events.inc(message.lost_events)
        trials.hear(message)
        if series:
            series.hear(message)

    trials = Trials(publisher.history, settings.worker_count(), metrics.canary_complaints.inc)
    database = DatabaseThread(state)
    collector = Collector(doors.agent, database, heard, metrics.count_failures.inc)

    source = source_of(settings, store, files, publisher, metrics)
    store.held = (state / HOLD).exists
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        stack.push_async_callback(collector.finish)
        stack.push_async_callback(source.stop)
        export = Export(database, store, files)
        slots = settings.worker_count()
        controls = settings.tenants is None and settings.upstream is None
        beside = functools.partial(metrics_of, short(state / CONTROL_SOCKET)) if controls else None
        app = management_plane(
            store, publisher, page, metrics, quotas, export, workers=slots, source=source_kind(settings), beside=beside
        )
        await listen(app, management, settings, stack)

        async def keep_up() -> None:
            await source.load(progress)
            if journal.damage and settings.tenants is not None and store.folder_problem is None:
                for each in files.projects():  # workers may know one that the journal lost, and that is gone since
                    if store.record(each).gone:
                        publisher.publish(ProjectRecord(*each, version=files.newest(each)))
            await publisher.committed()
            loaded()
            await asyncio.Event().wait()

        loop.add_reader(doors.heard, _hear, doors.heard, publisher, source, trials)
        counting = (collector.run(), keep_pruned(database, store, files))
        beating = _beat(block, store, state / LOCK)
        reporter = _reporter(settings, store, publisher, trials, page)
        reporting = (reporter.run(),) if reporter else ()
        running = (publisher.run(), source.run(), keep_up(), beating, *counting, *reporting)
        tasks = [asyncio.create_task(each) for each in running]
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


def _reporter(settings: Settings, store: Store, publisher: Publisher, trials: Trials, page: Page) -> Reporter | None:
    """None where nobody is to be told: a folder has no control plane."""
    if settings.tenants is not None:
        return None
    name = source_kind(settings)

    def standing() -> Standing:
        behind = ((project, status.problem) for project, status in store.projects.items())
        return Standing(name, store.held(), tuple((project, why.message) for project, why in behind if why))

    state = settings.state_folder()
    askers = askers_of(settings, state)
    reporter = Reporter(publisher.history, trials, page, askers, host=host_name(state), standing=standing)
    publisher.on_commit(reporter.wake)
    return reporter


def _hear(door: socket.socket, publisher: Publisher, source: Source, trials: Trials) -> None:
    """What a worker complains of."""
    with contextlib.suppress(BlockingIOError):
        while about := door.recv(1024).decode():
            if about == JOURNAL:
                publisher.suspect_journal()
            else:
                name, _, version = about.rpartition("@")
                environment = EnvironmentId(*name.split("/"))
                source.suspect(environment)
                trials.cannot_map(environment, int(version))


async def _beat(block: Block, store: Store, lock: Path) -> None:
    while True:
        block.heartbeat = time.monotonic()
        if store.folder_problem is None and store.ready:
            with contextlib.suppress(OSError):
                confirmed = time.time() - (
                    time.monotonic() - store.confirmed_at
                )  # a start with nobody to ask is no look
                os.utime(lock, (confirmed, confirmed))
        await asyncio.sleep(BEAT)
