"""`burgee serve` from the settings to the last process: lock the state folder, open sockets, fork, supervise."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import resource
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import structlog
import uvloop

from server.control.webhook_addresses import allowed
from server.logs import call_process
from server.processes.agent import LOCK, act
from server.processes.control import control
from server.processes.inherited import AGENT, CONTROL, Inherited, title_of
from server.processes.sockets import CONTROL_SOCKET, open_sockets
from server.processes.sources import keys_in
from server.processes.supervisor import Supervisor
from server.processes.worker import tls_context, work
from server.quotas import read_quotas
from server.record.database import parse_url
from server.settings import Settings, flag_of
from server.shared.page import Page
from server.sources.watcher import Progress
from server.state.origin import FOLDER, NOTHING, noted_source
from server.sync.redis_client import AddressError, parse_address

Addresses = dict[str, str]  # "data", "management", "control", "unix" -> where it listens


def serve(
    settings: Settings,
    *,
    announce: Callable[[Addresses], None],
    progress: Progress | None = None,
    control_only: bool = False,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. `announce` is called in the agent once all is loaded.

    With `control_only` there is neither an agent nor a worker, and the control plane announces.
    Raises OSError when a port or the state folder cannot be had, or settings do not go together; QuotasError when the
    file of quotas is no good; RecordError when the database's URL is none.
    """
    check_source(settings)
    workers = 0 if control_only else settings.worker_count()
    singles = (() if control_only else (AGENT,)) + ((CONTROL,) if settings.has_control_plane else ())
    quotas = read_quotas(settings)
    lock = _lock_state(settings)
    _check_telemetry(settings)
    tls = tls_context(settings)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a descriptor for each connection and each snapshot
    page = Page(2 * (workers + len(singles)))  # a process and its successor
    sockets = open_sockets(settings, workers, page.block_count)
    log = structlog.get_logger("server")
    log.info("listening", **sockets.addresses, source=source_named(settings), workers=workers)

    def announce_once() -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody listens
            announce(sockets.addresses)

    def reload() -> None:
        """What is good is what every process that is made from now on has; with what is not, all stays as it is."""
        nonlocal quotas, tls
        if settings.upstream_key_file is not None:
            _check_keys(settings.upstream_key_file)
        quotas, tls = read_quotas(settings), tls_context(settings)

    def run(inherited: Inherited) -> None:
        call_process(title_of(inherited.slot))
        block = page.block(inherited.block)
        sockets.keep_only(inherited.slot)
        pipes = {"ready": inherited.ready, "alive": inherited.alive}
        if inherited.slot == CONTROL:
            told = announce_once if control_only else (lambda: None)
            over_tcp, over_unix = sockets.control
            uvloop.run(
                control(
                    settings,
                    block,
                    over_tcp,
                    over_unix,
                    sockets.management if control_only else None,
                    **pipes,
                    loaded=told,
                    progress=progress,
                )
            )
            return
        if inherited.slot == AGENT:
            assert sockets.management is not None
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
                    **pipes,
                    loaded=loaded,
                    progress=progress if settings.tenants is not None else None,
                )
            )
            return
        listeners = [sockets.data[inherited.slot], *([sockets.unix] if sockets.unix else [])]
        door = sockets.doors.worker[inherited.block]
        complaints = sockets.doors.complaints
        which = {**pipes, "slot": inherited.slot, "workers": workers}
        uvloop.run(work(settings, quotas, tls, page, block, listeners, door, complaints, **which))

    supervisor = Supervisor(
        page,
        workers,
        run,
        reload,
        drain_delay=settings.drain_delay,
        shutdown_timeout=settings.shutdown_timeout,
        singles=singles,
        before_the_end=sockets.close_data,
    )
    try:
        return supervisor.run()
    finally:
        if settings.unix_socket is not None:
            settings.unix_socket.unlink(missing_ok=True)
        if settings.has_control_plane:
            (settings.state_folder() / CONTROL_SOCKET).unlink(missing_ok=True)
        os.close(lock)


def check_source(settings: Settings) -> None:
    """Raises OSError where the settings name two sources, or one that this state folder was not filled by."""
    state = settings.state_folder()
    filled_by = noted_source(state)
    others = {
        flag_of(each.name): getattr(settings, each.name)
        for each in fields(settings)
        if each.name in ("database", "import_", "redis", "upstream", "upstream_key_file")
    }
    named = [flag for flag, value in others.items() if value is not None]
    if settings.tenants is not None:
        if named:
            raise OSError(f"`--tenants` serves a folder, and takes no `{named[0]}` (hint: `--import` fills a record)")
        if not settings.tenants.is_dir() and not any(state.glob("journal.*")):
            raise OSError(f"there is no folder `{settings.tenants}`, and nothing to serve from before")
        if filled_by not in (FOLDER, NOTHING):
            raise OSError(_not_from(state, "a record, whose version numbers are not those of a folder"))
        return
    if settings.upstream is None:
        if settings.upstream_key_file is not None:
            raise OSError("`--upstream-key-file` needs `--upstream`")
        parse_url(settings.database_url())
        try:
            allowed(settings.webhook_allow)
        except ValueError as error:
            raise OSError(f"`--webhook-allow`: {error}") from None
        if settings.redis is not None:
            try:
                parse_address(settings.redis)
            except AddressError as error:
                raise OSError(str(error)) from None
        if filled_by == FOLDER:
            raise OSError(_not_from(state, "a folder, whose version numbers are not those of a record"))
    elif settings.database is not None or settings.import_ is not None:
        raise OSError("`--upstream` has its own record (hint: `--database` and `--import` are for a control plane)")
    elif settings.upstream_key_file is not None:
        _check_keys(settings.upstream_key_file)


def _check_keys(path: Path) -> None:
    try:
        keys_in(path)
    except OSError as error:
        raise OSError(f"`--upstream-key-file`: {error.strerror or error}: `{path}`") from None


def _not_from(state: Path, what: str) -> str:
    return f"the state folder `{state}` was filled from {what} (hint: `--state` chooses another)"


def source_named(settings: Settings) -> str:
    """Without what may be a password."""
    if settings.tenants is not None:
        return str(settings.tenants)
    return settings.upstream or parse_url(settings.database_url()).render_as_string(hide_password=True)


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
