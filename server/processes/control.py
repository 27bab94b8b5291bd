"""The control plane's process: the composition root of the record and of what people and programs change in it.

record -> admin API and sync routes on TCP; sync routes on `<state>/control.sock`; feed -> hosts, relay

The agent asks it by its Unix socket. While it is dead all is served as it is; connections wait for the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, exposition

from server.control.app import ControlSettings, Parts, control_plane
from server.control.canaries import Canaries
from server.control.feed import Feed
from server.control.first_key import FILE as KEY_FILE
from server.control.first_key import make_first_key
from server.control.host_reports import LARGEST, add_host_routes
from server.control.hosts import Hosts
from server.control.importing import fill
from server.control.metrics import ControlMetrics
from server.control.publishing.publish import Desk
from server.control.publishing.schedule import Scheduler
from server.control.webhook_addresses import allowed
from server.control.webhooks import Webhooks
from server.evaluations.database import FILE as EVALUATIONS
from server.http.failures import AnswerFailures
from server.http.listener import listen
from server.processes.inherited import LEAVE, leave_with
from server.record.database import Record, RecordUnavailableError
from server.record.outbox import forget_old
from server.record.schema import open_migrated
from server.settings import Settings
from server.shared.page import Block
from server.sources.compiling import Compiler
from server.sources.watcher import Progress
from server.sync.edge_keys import scope_of
from server.sync.from_record import RecordProvider
from server.sync.provide import add_sync_routes
from server.sync.redis_client import RedisClient, parse_address
from server.sync.redis_relay import RedisRelay
from server.sync.scope import ALL, Scope

Result = TypeVar("Result")

BEAT = 1.0  # seconds
RESTART_SECONDS = 5.0  # until a part that failed begins again
RETRY_SECONDS = 1.0  # until a record that cannot be reached is tried again


async def control(
    settings: Settings,
    block: Block,
    over_tcp: socket.socket,
    over_unix: socket.socket,
    management: socket.socket | None = None,
    *,
    ready: int,
    alive: int,
    loaded: Callable[[], None],
    progress: Progress | None = None,
) -> None:
    """Until LEAVE. Raises RecordError when the record is none that this version can use."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(LEAVE, stop.set)
    leave_with(alive, stop)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(asyncio.create_task(_beat(block)).cancel)
        acting = asyncio.create_task(_act(settings, over_tcp, over_unix, management, ready, loaded, progress))
        stopping = asyncio.create_task(stop.wait())
        stack.callback(stopping.cancel)
        await asyncio.wait({acting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if acting.done():
            acting.result()  # it only ends by an exception
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)


async def _act(
    settings: Settings,
    over_tcp: socket.socket,
    over_unix: socket.socket,
    management: socket.socket | None,
    ready: int,
    loaded: Callable[[], None],
    progress: Progress | None,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        record = await _open(settings)
        stack.push_async_callback(record.close)
        registry = CollectorRegistry()
        feed, compiler = Feed(), Compiler(settings.compile_workers)
        stack.callback(compiler.close)
        await _patiently(lambda: make_first_key(record, settings.state_folder() / KEY_FILE))
        if settings.import_ is not None:
            await fill(record, settings.import_, compiler, progress)
        metrics = ControlMetrics(registry)
        provider = RecordProvider(record, feed)
        metrics.record_up.set_function(provider.reaches_record)
        hosts = Hosts(record)
        canaries = Canaries(record, hosts, compiler, feed.changed)
        await _patiently(provider.load)

        async def of_edge(request: web.Request) -> Scope:
            return await scope_of(record, request)

        async def of_host(_: web.Request) -> Scope:
            return ALL  # who may open the socket may have all

        evaluations = settings.state_folder() / EVALUATIONS
        parts = Parts(record, feed, compiler, ControlSettings(evaluations=evaluations), hosts=hosts, metrics=metrics)
        app = control_plane(parts)
        of_this_machine = web.Application(middlewares=[AnswerFailures()], client_max_size=LARGEST)
        for each, authorise in ((app, of_edge), (of_this_machine, of_host)):
            add_sync_routes(each, provider, authorise)
            add_host_routes(each, hosts, authorise)
        add_metrics(of_this_machine, registry)
        sites = [(app, over_tcp), (of_this_machine, over_unix)]
        if management is not None:
            sites.append((add_metrics(web.Application(), registry), management))
        for each, listener in sites:
            await listen(each, listener, settings, stack)
        os.write(ready, b"r")
        loaded()
        webhooks = Webhooks(record, allowed(settings.webhook_allow), metrics=metrics)
        scheduler = Scheduler(Desk(record, compiler, feed, parts.contexts, metrics))
        running: dict[str, Callable[[], Awaitable[None]]] = {
            "provider": provider.run,
            "hosts": hosts.run,
            "canaries": canaries.run,
            "webhooks": webhooks.run,
            "scheduler": scheduler.run,
        }
        if settings.redis is not None:
            redis = RedisClient(parse_address(settings.redis))
            stack.push_async_callback(redis.close)
            running["relay"] = RedisRelay(record, feed, redis, registry).run
        else:
            running["outbox"] = lambda: forget_old(record)
        async with asyncio.TaskGroup() as tasks:
            for name, part in running.items():
                tasks.create_task(keep_running(name, part, metrics))


async def keep_running(
    name: str, part: Callable[[], Awaitable[None]], metrics: ControlMetrics, pause: float = RESTART_SECONDS
) -> None:
    """For ever: whatever one part was not written for, the admin API and the others go on."""
    metrics.restarts.labels(name)  # so that its series is there from the start
    while True:
        try:
            await part()
        except Exception:
            structlog.get_logger("control").exception("a part of the control plane failed; it begins again", part=name)
            metrics.restarts.labels(name).inc()
        await asyncio.sleep(pause)


def add_metrics(app: web.Application, registry: CollectorRegistry) -> web.Application:
    async def metrics(request: web.Request) -> web.Response:
        render, content_type = exposition.choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=render(registry), headers={"Content-Type": content_type})

    async def fine(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app.router.add_get("/metrics", metrics)
    for path in ("/healthz", "/readyz"):  # it listens once it is ready
        app.router.add_get(path, fine)
    return app


async def _open(settings: Settings) -> Record:
    return await _patiently(lambda: open_migrated(settings.database_url()))


async def _patiently(begin: Callable[[], Awaitable[Result]]) -> Result:
    """Until the record can be reached: it may begin later than this server."""
    complained = False
    while True:
        try:
            return await begin()
        except RecordUnavailableError as error:
            if not complained:
                structlog.get_logger("control").error("waiting for the record", why=str(error))
                complained = True
            await asyncio.sleep(RETRY_SECONDS)


async def _beat(block: Block) -> None:
    while True:
        block.heartbeat = time.monotonic()
        await asyncio.sleep(BEAT)
