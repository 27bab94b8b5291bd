"""A worker: the composition root of the data plane, in a process of its own.

catalog (journal and snapshots on disk, shared page) -> aiohttp application -> front -> the sockets of its slot
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from server.evaluations.tally import Tally
from server.evaluations.telemetry import Telemetry
from server.front.protocol import Front
from server.front.site import FrontSite
from server.http import event_address
from server.http.authenticate import EVENTS, Authenticate
from server.http.body import body_reader, leave_expectation
from server.http.cors import BLOCK, Cors
from server.http.evaluate import Evaluate
from server.http.events import Events, allowed_streams
from server.http.failures import AnswerFailures
from server.http.limit_rate import LimitRate
from server.http.listener import Runner
from server.http.observe import Observe
from server.http.ofrep import Ofrep
from server.processes.inherited import LEAVE
from server.settings import Settings
from server.shared.page import Block, Page
from server.state.catalog import Catalog
from server.streams import Streams

if TYPE_CHECKING:
    from server.evaluations.otlp import Exporter

LAST_REQUESTS = 0.2  # seconds that open connections are kept once no more are accepted: a request may be on its way
LONGEST_FAREWELL = 5.0  # seconds over which event streams are ended
BEAT = 1.0  # seconds


def data_plane(
    settings: Settings,
    catalog: Catalog,
    page: Page,
    block: Block,
    streams: Streams,
    limit: LimitRate | None,
    telemetry: Telemetry | None = None,
) -> web.Application:
    read_body = body_reader(settings.max_body_bytes, settings.body_timeout)
    middlewares: list[Middleware] = [  # outermost first
        Observe(catalog, block, access_log=settings.access_log),
        Cors(catalog),
        AnswerFailures(),
        Authenticate(catalog, block),
        *([limit] if limit else []),
    ]
    app = web.Application(middlewares=middlewares, client_max_size=settings.max_body_bytes)
    app[BLOCK] = block
    ofrep = Ofrep(catalog, read_body, telemetry, streams=settings.event_streams)
    evaluate = Evaluate(catalog, read_body, telemetry)
    # A new route opens to nobody before it is in http/authenticate.py's PERMITTED.
    for path, handler, name in (
        ("/v1/evaluate", evaluate.batch, "evaluate"),
        ("/ofrep/v1/evaluate/flags", ofrep.flags, "ofrep_flags"),
        ("/ofrep/v1/evaluate/flags/{key:[^/]+}", ofrep.flag, "ofrep_flag"),
    ):
        app.router.add_post(path, handler, name=name, expect_handler=leave_expectation)
    if settings.event_streams:
        events = Events(catalog, page, block, streams, allowed=allowed_streams(settings))
        app.router.add_get(event_address.PATH, events.stream, name=EVENTS, allow_head=False)
    return app


async def work(
    settings: Settings,
    page: Page,
    block: Block,
    sockets: list[socket.socket],
    door: socket.socket,
    *,
    ready: int,
    alive: int,
) -> None:
    """Answer until LEAVE, then drain. `ready` and `alive` as the supervisor gave them."""
    loop = asyncio.get_running_loop()
    log = structlog.get_logger("worker")
    stop = asyncio.Event()
    loop.add_signal_handler(LEAVE, stop.set)
    loop.add_reader(alive, stop.set)
    catalog = Catalog(settings.state_folder(), page, block, budget=settings.memory_budget, max_age=settings.max_age)
    exporter = _exporter(settings)
    tally = Tally(
        catalog, block, door, settings.counts_interval, lost_events=exporter.newly_lost if exporter else lambda: 0
    )
    telemetry = None
    if exporter:
        telemetry = Telemetry(exporter.emit, settings.telemetry_sample, context_ids=settings.telemetry_context_ids)
    catalog.refresh()
    limit = LimitRate(page, settings.rate_limit) if settings.rate_limit else None
    streams = Streams(
        catalog, page, block, longest=settings.event_stream_age, heartbeat=settings.event_stream_heartbeat
    )
    catalog.on_change(streams.changed)
    app = data_plane(settings, catalog, page, block, streams, limit, telemetry)
    runner = Runner(
        app,
        head_timeout=settings.head_timeout,
        keepalive_timeout=settings.keepalive_timeout,
        shutdown_timeout=settings.shutdown_timeout,
    )
    await runner.setup()
    async with contextlib.AsyncExitStack() as stack:
        if exporter:
            stack.push_async_callback(exporter.close)
        stack.push_async_callback(tally.finish)
        stack.push_async_callback(runner.cleanup)
        tls = tls_context(settings)
        site: FrontSite | _PlainSites
        if settings.access_log:  # which needs aiohttp's view of every request
            site = _PlainSites(runner, sockets, tls)
        else:
            front = Front(
                loop,
                catalog,
                page,
                block,
                runner.protocol,
                request_rate=settings.rate_limit,
                max_body=settings.max_body_bytes,
                head_timeout=settings.head_timeout,
                body_timeout=settings.body_timeout,
                keepalive_timeout=settings.keepalive_timeout,
                telemetry=telemetry,
                offer=event_address.offer if settings.event_streams else None,
            )
            catalog.on_change(front.forget)
            site = FrontSite(front, sockets, tls)
        await site.start()

        async def drain() -> None:
            farewell = min(LONGEST_FAREWELL, settings.shutdown_timeout / 2)
            await asyncio.gather(site.drain(settings.shutdown_timeout), streams.drain(farewell))

        stack.push_async_callback(drain)

        def answer_door() -> None:
            with contextlib.suppress(BlockingIOError):
                while door.recv(65536):
                    pass
            catalog.refresh()

        loop.add_reader(door, answer_door)
        for each in (_beat(block, streams), tally.run()):
            stack.callback(asyncio.create_task(each).cancel)
        os.write(ready, b"r")
        log.debug("working")
        await stop.wait()
        await site.stop()
        await asyncio.sleep(LAST_REQUESTS)
        loop.remove_reader(door)


def _exporter(settings: Settings) -> Exporter | None:
    if not settings.telemetry_sample:
        return None
    from server.evaluations.otlp import Exporter  # an extra, and seconds of imports

    return Exporter()


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Raises OSError, ssl.SSLError."""
    if settings.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    return context


async def _beat(block: Block, streams: Streams) -> None:
    while True:
        block.heartbeat = time.monotonic()
        streams.tick()
        await asyncio.sleep(BEAT)


class _PlainSites:
    """aiohttp alone on the sockets."""

    def __init__(self, runner: Runner, sockets: list[socket.socket], tls: ssl.SSLContext | None) -> None:
        self._sites = [web.SockSite(runner, each, ssl_context=tls) for each in sockets]

    async def start(self) -> None:
        for each in self._sites:
            await each.start()

    async def stop(self) -> None:
        for each in self._sites:
            await each.stop()

    async def drain(self, timeout: float) -> None:
        """The runner does."""
