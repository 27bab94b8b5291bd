"""The composition root: everything the server is made of is put together here, started, and taken down again.

settings -> store, metrics, compiler, watcher -> two aiohttp applications -> two listeners
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from server.front.protocol import Front
from server.front.site import FrontSite
from server.http.authenticate import Authenticate
from server.http.body import body_reader, leave_expectation
from server.http.evaluate import Evaluate
from server.http.failures import AnswerFailures
from server.http.limit_rate import LimitRate
from server.http.listener import Runner
from server.http.management import Management
from server.http.observe import Observe
from server.http.ofrep import Ofrep
from server.metrics import FAST, Metrics
from server.settings import Settings
from server.sources.compiling import Compiler
from server.sources.watcher import Progress, Watcher
from server.store import Store

BACKLOG = 1024  # or a burst of callers waits a second for the next try
LAST_REQUESTS = 0.2  # seconds that open connections are kept once no more are accepted: a request may be on its way


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the server listens, with the ports it was given."""

    data: str  # http://127.0.0.1:8080
    management: str


def data_plane(settings: Settings, store: Store, metrics: Metrics, limit: LimitRate | None) -> web.Application:
    read_body = body_reader(settings.max_body_bytes, settings.body_timeout)
    middlewares: list[Middleware] = [  # outermost first
        Observe(store, metrics, access_log=settings.access_log),
        AnswerFailures(),
        Authenticate(store, metrics),
        *([limit] if limit else []),
    ]
    app = web.Application(middlewares=middlewares, client_max_size=settings.max_body_bytes)
    ofrep, evaluate = Ofrep(store, read_body), Evaluate(store, read_body)
    # A new route opens to nobody before it is in http/authenticate.py's PERMITTED.
    for path, handler, name in (
        ("/v1/evaluate", evaluate.batch, "evaluate"),
        ("/ofrep/v1/evaluate/flags", ofrep.flags, "ofrep_flags"),
        ("/ofrep/v1/evaluate/flags/{key:[^/]+}", ofrep.flag, "ofrep_flag"),
    ):
        app.router.add_post(path, handler, name=name, expect_handler=leave_expectation)
    return app


def management_plane(store: Store, metrics: Metrics) -> web.Application:
    app = web.Application(middlewares=[AnswerFailures()])
    management = Management(store, metrics)
    app.router.add_get("/healthz", management.healthz)
    app.router.add_get("/readyz", management.readyz)
    app.router.add_get("/metrics", management.metrics)
    app.router.add_get("/status", management.status)
    return app


async def serve(
    settings: Settings, *, announce: Callable[[Addresses], None] | None = None, progress: Progress | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises OSError when a port cannot be had."""
    log = structlog.get_logger("server")
    loop = asyncio.get_running_loop()
    store = Store()
    metrics = Metrics(store)
    compiler = Compiler(settings.compile_workers)
    watcher = Watcher(settings.tenants, store, compiler, metrics, settings.settle_time)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(compiler.close)
        stack.push_async_callback(watcher.stop)
        _, management = await _listen(
            stack, settings, management_plane(store, metrics), settings.management_host, settings.management_port
        )
        site, data = await _listen_for_data(stack, settings, store, metrics)
        addresses = Addresses(data, management)
        log.info("listening", data=data, management=management, tenants=str(settings.tenants))

        stop = asyncio.Event()
        rereads: set[asyncio.Task[bool]] = set()

        def reread() -> None:
            task = asyncio.ensure_future(watcher.look(again=True))
            rereads.add(task)
            task.add_done_callback(rereads.discard)

        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, stop.set)
        loop.add_signal_handler(signal.SIGHUP, reread)

        async def keep_up() -> None:
            await watcher.load(progress)
            if announce:
                announce(addresses)
            await watcher.watch(settings.poll_interval)

        watching = asyncio.create_task(keep_up())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()  # it only ends by an exception
        log.info("draining", seconds=settings.drain_delay)
        store.draining = True
        await asyncio.sleep(settings.drain_delay)
        await site.stop()
        await asyncio.sleep(LAST_REQUESTS)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    log.info("stopped")


async def _listen_for_data(
    stack: contextlib.AsyncExitStack, settings: Settings, store: Store, metrics: Metrics
) -> tuple[FrontSite | web.TCPSite, str]:
    limit = LimitRate(settings.rate_limit) if settings.rate_limit else None
    app = data_plane(settings, store, metrics, limit)
    if settings.access_log:  # which needs aiohttp's view of every request
        return await _listen(stack, settings, app, settings.host, settings.port)
    runner = await _run(stack, settings, app)
    front = Front(
        asyncio.get_running_loop(),
        store,
        runner.protocol,
        bucket_of=limit.bucket_of if limit else None,
        count=metrics.count,
        took=metrics.request_seconds.add,
        bounds=FAST,
        max_body=settings.max_body_bytes,
        head_timeout=settings.head_timeout,
        body_timeout=settings.body_timeout,
        keepalive_timeout=settings.keepalive_timeout,
    )
    site = FrontSite(front, settings.host, settings.port, backlog=BACKLOG)
    address = await site.start()
    stack.push_async_callback(site.drain, settings.shutdown_timeout)
    return site, _url(*address)


async def _listen(
    stack: contextlib.AsyncExitStack, settings: Settings, app: web.Application, host: str, port: int
) -> tuple[web.TCPSite, str]:
    """Listen, and stop to when the stack unwinds: the data plane first, the management port last."""
    runner = await _run(stack, settings, app)
    site = web.TCPSite(runner, host, port, backlog=BACKLOG)
    await site.start()
    bound, given = runner.addresses[0][:2]
    return site, _url(bound, given)


async def _run(stack: contextlib.AsyncExitStack, settings: Settings, app: web.Application) -> Runner:
    runner = Runner(app, keepalive_timeout=settings.keepalive_timeout, shutdown_timeout=settings.shutdown_timeout)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    return runner


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
