"""`burgee serve` from the settings to the last process: lock the state folder, open sockets, fork, supervise."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable

import structlog
import uvloop

from server.processes.agent import act
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
    quotas = read_quotas(settings)
    lock = _lock_state(settings)
    tls_context(settings)  # what is wrong with the certificate is better said once, here
    page = Page(2 * (workers + 1))  # a process and its successor
    sockets = open_sockets(settings, workers, page.block_count)
    log = structlog.get_logger("server")
    log.info("listening", **sockets.addresses, tenants=str(settings.tenants), workers=workers)

    def reload() -> None:
        """What is good is what every process that is made from now on has; with what is not, all stays as it is."""
        nonlocal quotas
        quotas = read_quotas(settings)

    def run(inherited: Inherited) -> None:
        block = page.block(inherited.block)
        if inherited.slot == AGENT:
            # Only the first agent has somebody to tell.
            loaded = (lambda: None) if page.ready else (lambda: announce(sockets.addresses))
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
        uvloop.run(work(settings, quotas, page, block, listeners, door, ready=inherited.ready, alive=inherited.alive))

    supervisor = Supervisor(
        page, workers, run, reload, drain_delay=settings.drain_delay, shutdown_timeout=settings.shutdown_timeout
    )
    try:
        return supervisor.run()
    finally:
        if settings.unix_socket is not None:
            settings.unix_socket.unlink(missing_ok=True)
        os.close(lock)


def _lock_state(settings: Settings) -> int:
    """One server for one state folder. The lock goes with the last process that has it."""
    folder = settings.state_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise OSError(f"another server uses the state folder `{folder}` (hint: `--state` chooses another)") from None
    return lock
