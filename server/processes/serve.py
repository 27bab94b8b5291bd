"""`burgee serve` from the settings to the last process: lock the state folder, open sockets, fork, supervise."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import resource
from collections.abc import Callable

import structlog
import uvloop

from server.logs import call_process
from server.processes.agent import LOCK, act
from server.processes.inherited import AGENT, Inherited
from server.processes.sockets import open_sockets
from server.processes.supervisor import Supervisor
from server.processes.worker import tls_context, work
from server.quotas import read_quotas
from server.settings import Settings
from server.shared.page import Page
from server.sources.watcher import Progress

Addresses = dict[str, str]  # "data", "management", "unix" -> where it listens


def serve(settings: Settings, *, announce: Callable[[Addresses], None], progress: Progress | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. `announce` is called in the agent once all is loaded.

    Raises OSError when a port or the state folder cannot be had, QuotasError when the file of quotas is no good.
    """
    workers = settings.worker_count()
    if not settings.tenants.is_dir() and not any(settings.state_folder().glob("journal.*")):
        raise OSError(f"there is no folder `{settings.tenants}`, and nothing to serve from before")
    quotas = read_quotas(settings)
    lock = _lock_state(settings)
    _check_telemetry(settings)
    tls = tls_context(settings)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a descriptor for each connection and each snapshot
    page = Page(2 * (workers + 1))  # a process and its successor
    sockets = open_sockets(settings, workers, page.block_count)
    log = structlog.get_logger("server")
    log.info("listening", **sockets.addresses, tenants=str(settings.tenants), workers=workers)

    def announce_once() -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody listens
            announce(sockets.addresses)

    def reload() -> None:
        """What is good is what every process that is made from now on has; with what is not, all stays as it is."""
        nonlocal quotas, tls
        quotas, tls = read_quotas(settings), tls_context(settings)

    def run(inherited: Inherited) -> None:
        call_process("agent" if inherited.slot == AGENT else f"worker {inherited.slot}")
        block = page.block(inherited.block)
        sockets.keep_only(inherited.slot)
        if inherited.slot == AGENT:
            # Only the first agent has somebody to tell.
            loaded = (lambda: None) if page.ready else announce_once
            uvloop.run(
                act(
                    settings,
                    quotas,
                    page,
                    block,
                    sockets.management,
                    sockets.doors,
                    ready=inherited.ready,
                    alive=inherited.alive,
                    loaded=loaded,
                    progress=progress,
                )
            )
            return
        listeners = [sockets.data[inherited.slot], *([sockets.unix] if sockets.unix else [])]
        door = sockets.doors.worker[inherited.block]
        complaints = sockets.doors.complaints
        which = {"ready": inherited.ready, "alive": inherited.alive, "slot": inherited.slot, "workers": workers}
        uvloop.run(work(settings, quotas, tls, page, block, listeners, door, complaints, **which))

    supervisor = Supervisor(
        page,
        workers,
        run,
        reload,
        drain_delay=settings.drain_delay,
        shutdown_timeout=settings.shutdown_timeout,
        before_the_end=sockets.close_data,
    )
    try:
        return supervisor.run()
    finally:
        if settings.unix_socket is not None:
            settings.unix_socket.unlink(missing_ok=True)
        os.close(lock)


def _check_telemetry(settings: Settings) -> None:
    """Better said once, here, than by every worker. Raises OSError."""
    if not settings.telemetry_sample:
        return
    try:
        found = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise OSError("telemetry needs the OpenTelemetry SDK (hint: `pip install 'burgee[telemetry]'`)")


def _lock_state(settings: Settings) -> int:
    """One server for one state folder. The lock goes with the last process that has it."""
    folder = settings.state_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise OSError(f"the state folder `{folder}` cannot be used: {why} (hint: `--state` chooses another)") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise OSError(f"another server uses the state folder `{folder}` (hint: `--state` chooses another)") from None
    return lock
