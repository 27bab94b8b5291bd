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

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from server.front.admission import Admission
from server.front.protocol import Front
from server.front.site import FrontSite
from server.http.admit import Admit
from server.http.authenticate import Authenticate
from server.http.body import body_reader, leave_expectation
from server.http.evaluate import Evaluate
from server.http.failures import AnswerFailures
from server.http.listener import Runner
from server.http.observe import Observe
from server.http.ofrep import Ofrep
from server.processes.inherited import LEAVE
from server.quotas import Quotas
from server.settings import Settings
from server.shared.page import Block, Page
from server.state.catalog import Catalog

LAST_REQUESTS = 0.2  # seconds that open connections are kept once no more are accepted: a request may be on its way
BEAT = 1.0  # seconds


def data_plane(settings: Settings, catalog: Catalog, block: Block, admission: Admission) -> web.Application:
    read_body = body_reader(settings.max_body_bytes, settings.body_timeout)
    middlewares: list[Middleware] = [  # outermost first
        Observe(catalog, block, access_log=settings.access_log),
        AnswerFailures(),
        Authenticate(catalog, block),
        Admit(admission, block, settings.max_body_bytes),
    ]
    app = web.Application(middlewares=middlewares, client_max_size=settings.max_body_bytes)
    ofrep, evaluate = Ofrep(catalog, read_body), Evaluate(catalog, read_body)
    # A new route opens to nobody before it is in http/authenticate.py's PERMITTED.
    for path, handler, name in (
        ("/v1/evaluate", evaluate.batch, "evaluate"),
        ("/ofrep/v1/evaluate/flags", ofrep.flags, "ofrep_flags"),
        ("/ofrep/v1/evaluate/flags/{key:[^/]+}", ofrep.flag, "ofrep_flag"),
    ):
        app.router.add_post(path, handler, name=name, expect_handler=leave_expectation)
    return app


async def work(
    settings: Settings,
    quotas: Quotas,
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
    log = structlog.get_logger("worker").bind(pid=os.getpid())
    stop = asyncio.Event()
    loop.add_signal_handler(LEAVE, stop.set)
    loop.add_reader(alive, stop.set)
    catalog = Catalog(settings.state_folder(), page, block, budget=settings.memory_budget)
    catalog.refresh()
    admission = Admission(page, block, quotas, shed_after=settings.shed_after, call_soon=loop.call_soon)
    app = data_plane(settings, catalog, block, admission)
    runner = Runner(
        app,
        head_timeout=settings.head_timeout,
        keepalive_timeout=settings.keepalive_timeout,
        shutdown_timeout=settings.shutdown_timeout,
        arrived=admission.arrived,
    )
    await runner.setup()
    async with contextlib.AsyncExitStack() as stack:
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
                admission,
                runner.protocol,
                max_body=settings.max_body_bytes,
                head_timeout=settings.head_timeout,
                body_timeout=settings.body_timeout,
                keepalive_timeout=settings.keepalive_timeout,
            )
            catalog.on_change(front.forget)
            site = FrontSite(front, sockets, tls)
        await site.start()
        stack.push_async_callback(site.drain, settings.shutdown_timeout)

        def answer_door() -> None:
            with contextlib.suppress(BlockingIOError):
                while door.recv(65536):
                    pass
            catalog.refresh()

        loop.add_reader(door, answer_door)
        beating = asyncio.create_task(_beat(block))
        stack.callback(beating.cancel)
        os.write(ready, b"r")
        log.debug("working")
        await stop.wait()
        await site.stop()
        await asyncio.sleep(LAST_REQUESTS)
        loop.remove_reader(door)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Raises OSError, ssl.SSLError."""
    if settings.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    return context


async def _beat(block: Block) -> None:
    while True:
        block.heartbeat = time.monotonic()
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
