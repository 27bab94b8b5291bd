"""A worker: the composition root of the data plane, in a process of its own.

catalog (journal and snapshots on disk, shared page) -> aiohttp application -> front -> the sockets of its slot
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from server.evaluations.tally import Tally
from server.evaluations.telemetry import Telemetry
from server.front.admission import Admission
from server.front.protocol import Front
from server.front.site import FrontSite
from server.http import event_address
from server.http.admit import Admit
from server.http.authenticate import EVENTS, Authenticate
from server.http.body import body_reader, leave_expectation
from server.http.cors import BLOCK, Cors
from server.http.evaluate import Evaluate
from server.http.events import Events
from server.http.failures import AnswerFailures
from server.http.listener import Runner
from server.http.observe import Observe
from server.http.ofrep import Ofrep
from server.processes.inherited import LEAVE, leave_with
from server.quotas import Quotas
from server.settings import Settings
from server.shared.page import Block, Page
from server.state.catalog import Catalog
from server.streams import Streams
from server.sync.from_catalog import CatalogProvider
from server.sync.provide import add_sync_routes

if TYPE_CHECKING:
    from server.evaluations.otlp import Exporter

# INVARIANT: the next two, tally.FINISH and otlp.FINISH together are well below supervisor.LEAVING: counts go last.
LAST_REQUESTS = 1.0  # seconds that open connections have for a last request, whose answer tells them to go elsewhere
LAST_ACCEPTED = 0.05  # seconds that connections which callers have begun to open are still accepted
FIRST_READ = 5.0  # seconds for the agent to mend a journal that cannot be read
MOST_SNAPSHOTS = 30_000  # mapped by a worker; Linux gives a process 65,530 mappings
LONGEST_FAREWELL = 5.0  # seconds over which event streams are ended
BEAT = 1.0  # seconds
CERTIFICATE = re.compile(rb"^-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----", re.MULTILINE)
PRIVATE_KEY = re.compile(rb"^-----BEGIN (?:[A-Z0-9]+ )?PRIVATE KEY-----", re.MULTILINE)


def data_plane(
    settings: Settings,
    catalog: Catalog,
    block: Block,
    streams: Streams,
    admission: Admission,
    telemetry: Telemetry | None = None,
) -> web.Application:
    read_body = body_reader(settings.max_body_bytes, settings.body_timeout)
    middlewares: list[Middleware] = [  # outermost first
        Observe(catalog, block, access_log=settings.access_log),
        Cors(catalog),
        AnswerFailures(),
        Authenticate(catalog, block),
        Admit(admission, block, settings.max_body_bytes),
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
        events = Events(catalog, streams, admission)
        app.router.add_get(event_address.PATH, events.stream, name=EVENTS, allow_head=False)
    provider = CatalogProvider(catalog, settings.state_folder())
    add_sync_routes(app, provider, provider.scope_of)
    return app


async def work(
    settings: Settings,
    quotas: Quotas,
    tls: ssl.SSLContext | None,
    page: Page,
    block: Block,
    sockets: list[socket.socket],
    door: socket.socket,
    complaints: socket.socket,
    *,
    ready: int,
    alive: int,
    slot: int = 0,
    workers: int = 1,
) -> None:
    """Answer until LEAVE, then drain. `ready` and `alive` as the supervisor gave them."""
    loop = asyncio.get_running_loop()
    log = structlog.get_logger("worker")
    stop = asyncio.Event()
    loop.add_signal_handler(LEAVE, stop.set)
    leave_with(alive, stop)

    def complain(about: str) -> None:
        with contextlib.suppress(OSError):  # an agent that does not listen has been told already, or will be again
            complaints.send(about.encode())

    block.slot = slot
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2  # snapshots; the other half for connections
    catalog = Catalog(
        settings.state_folder(),
        page,
        block,
        budget=settings.memory_budget,
        max_age=settings.max_age,
        most=min(MOST_SNAPSHOTS, most),
        complain=complain,
        workers=workers,
    )
    exporter = _exporter(settings)
    tally = Tally(
        catalog, block, door, settings.counts_interval, lost_events=exporter.newly_lost if exporter else lambda: 0
    )
    telemetry = None
    if exporter:
        telemetry = Telemetry(exporter.emit, settings.telemetry_sample, context_ids=settings.telemetry_context_ids)
    await _load(catalog)
    admission = Admission(page, block, quotas, shed_after=settings.shed_after, call_soon=loop.call_soon)
    streams = Streams(
        catalog, page, block, longest=settings.event_stream_age, heartbeat=settings.event_stream_heartbeat
    )
    catalog.on_change(streams.changed)
    app = data_plane(settings, catalog, block, streams, admission, telemetry)
    runner = Runner(
        app,
        head_timeout=settings.head_timeout,
        keepalive_timeout=settings.keepalive_timeout,
        shutdown_timeout=settings.shutdown_timeout,
        arrived=admission.arrived,
    )
    await runner.setup()
    async with contextlib.AsyncExitStack() as stack:
        if exporter:
            stack.push_async_callback(exporter.close)
        stack.push_async_callback(tally.finish)
        stack.push_async_callback(runner.cleanup)
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
                telemetry=telemetry,
                offer=event_address.offer if settings.event_streams else None,
            )
            catalog.on_change(front.forget)
            site = FrontSite(front, sockets, tls)
        await site.start()

        async def drain() -> None:
            runner.end_by(time.monotonic() + settings.shutdown_timeout)
            farewell = min(LONGEST_FAREWELL, settings.shutdown_timeout / 2)
            await asyncio.gather(site.drain(settings.shutdown_timeout), streams.drain(farewell))

        stack.push_async_callback(drain)

        def answer_door() -> None:
            with contextlib.suppress(BlockingIOError):
                while door.recv(65536):
                    pass
            catalog.refresh()

        loop.add_reader(door, answer_door)
        for each in (_beat(block, catalog, streams), tally.run()):
            stack.callback(asyncio.create_task(each).cancel)
        os.write(ready, b"r")
        log.debug("working")
        await stop.wait()
        catalog.leaving = True
        site.leave()
        await asyncio.sleep(LAST_ACCEPTED)
        await site.stop()
        give_up = time.monotonic() + LAST_REQUESTS
        while (site.connections or runner.connections) and time.monotonic() < give_up:
            await asyncio.sleep(0.02)
        loop.remove_reader(door)


def _exporter(settings: Settings) -> Exporter | None:
    if not settings.telemetry_sample:
        return None
    from server.evaluations.otlp import Exporter  # an extra, and seconds of imports

    return Exporter()


async def _load(catalog: Catalog) -> None:
    """A process that knows nothing is to accept nothing, if that can be helped."""
    give_up = time.monotonic() + FIRST_READ
    catalog.refresh()
    while not catalog.loaded and time.monotonic() < give_up:
        await asyncio.sleep(0.05)
        catalog.refresh()


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Raises OSError."""
    if settings.tls_certificate is None:
        if settings.tls_key is not None:
            raise OSError("`--tls-key` needs `--tls-certificate`")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    certificate, key = settings.tls_certificate, settings.tls_key or settings.tls_certificate
    _check_pem("certificate", certificate, CERTIFICATE)
    _check_pem("private key", key, PRIVATE_KEY, "" if settings.tls_key else " (hint: `--tls-key` names its file)")
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        wrong = "the key is not that of the certificate" if error.reason == "KEY_VALUES_MISMATCH" else "one is damaged"
        raise OSError(f"the certificate `{certificate}` and the key `{key}` cannot be used: {wrong}") from None
    except ValueError as error:
        raise OSError(f"the key `{key}` cannot be used: {error}") from None
    return context


def _check_pem(what: str, path: Path, begins: re.Pattern[bytes], hint: str = "") -> None:
    """OpenSSL does not say which file is wrong, and hardly what is. Raises OSError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OSError(f"the {what} `{path}` cannot be read: {why}") from None
    if not begins.search(content):
        raise OSError(f"`{path}` has no {what} in PEM{hint}")


def _no_password() -> str:
    raise ValueError("the key needs a password, and nobody could be asked at a restart")


async def _beat(block: Block, catalog: Catalog, streams: Streams) -> None:
    while True:
        block.heartbeat = time.monotonic()
        catalog.refresh()  # where the last time failed
        streams.tick()
        await asyncio.sleep(BEAT)


class _PlainSites:
    """aiohttp alone on the sockets."""

    def __init__(self, runner: Runner, sockets: list[socket.socket], tls: ssl.SSLContext | None) -> None:
        unix = socket.AF_UNIX
        self._sites = [web.SockSite(runner, each, ssl_context=None if each.family == unix else tls) for each in sockets]

    @property
    def connections(self) -> int:
        return 0  # the runner counts them

    def leave(self) -> None:
        """The catalog says so to all."""

    async def start(self) -> None:
        for each in self._sites:
            await each.start()

    async def stop(self) -> None:
        for each in self._sites:
            await each.stop()

    async def drain(self, timeout: float) -> None:
        """The runner does."""
