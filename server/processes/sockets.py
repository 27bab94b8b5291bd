"""The sockets that the supervisor opens and its children inherit.

Each worker has a TCP socket of its own on one port (SO_REUSEPORT): the kernel spreads connections over them, and no
worker wakes for another's. A Unix socket is one for all. They outlive the processes that accept from them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path

from server.processes.inherited import AGENT, CONTROL
from server.settings import Settings

SO_ATTACH_FILTER = 26  # which Python's socket module does not name
CONTROL_SOCKET = "control.sock"  # of the state folder
BACKLOG = 1024  # or a burst of callers waits a second for the next try


@dataclass(frozen=True, slots=True)
class Doors:
    """A pair of datagram sockets for each process: the agent's rings, and a worker's counts; and one for complaints."""

    agent: tuple[socket.socket, ...]
    worker: tuple[socket.socket, ...]
    heard: socket.socket  # where the agent hears what any worker complains of
    complaints: socket.socket

    @staticmethod
    def open(blocks: int) -> Doors:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(blocks + 1)]
        for pair in pairs:
            for each in pair:
                each.setblocking(False)
        heard, complaints = pairs.pop()
        return Doors(tuple(one for one, _ in pairs), tuple(other for _, other in pairs), heard, complaints)

    def ring(self) -> None:
        """Wakes every worker; one that was rung and has not looked yet needs no second ring."""
        for each in self.agent:
            with contextlib.suppress(OSError):
                each.send(b"!")


@dataclass(frozen=True, slots=True)
class Sockets:
    data: tuple[socket.socket, ...]  # one for each worker
    unix: socket.socket | None
    management: socket.socket | None
    control: tuple[socket.socket, ...]  # the control plane's: TCP, and the Unix socket for the hosts of this machine
    doors: Doors
    addresses: dict[str, str] = field(default_factory=dict)  # "data", "management", "control", "unix"

    def keep_only(self, slot: int) -> None:
        """In a child: closes what others listen on, so that it is closed when they and the supervisor close it."""
        for number, each in enumerate(self.data):
            if number != slot:
                each.close()
        if slot < 0:
            self.close_unix()
        if slot != (AGENT if self.data else CONTROL) and self.management is not None:
            self.management.close()
        if slot != CONTROL:
            for each in self.control:
                each.close()

    def close_data(self) -> None:
        """In the supervisor: nobody connects any more; who has already is still accepted by the workers."""
        for each in self.data:
            _begin_no_more(each)
            each.close()
        if self.unix is not None:
            Path(self.unix.getsockname()).unlink(missing_ok=True)
        self.close_unix()

    def close_unix(self) -> None:
        if self.unix is not None:
            self.unix.close()


def open_sockets(settings: Settings, workers: int, blocks: int) -> Sockets:
    """Without workers, those of a control plane alone. Raises OSError, with the address in its text."""
    addresses: dict[str, str] = {}
    data: tuple[socket.socket, ...] = ()
    management = unix = None
    control: tuple[socket.socket, ...] = ()
    if workers:
        _refuse_to_share(settings.host, settings.port)
        first = _listen(settings.host, settings.port, shared=True)
        host, port = first.getsockname()[:2]
        data = (first, *(_listen(settings.host, port, shared=True) for _ in range(workers - 1)))
        try:
            management = _listen(settings.management_host, settings.management_port, shared=False)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or settings.management_port != port:
                raise
            raise OSError(f"`--port` and `--management-port` are both {port} (hint: each needs its own)") from None
        scheme = "https" if settings.tls_certificate else "http"
        addresses = {"data": url_of(host, port, scheme), "management": url_of(*management.getsockname()[:2])}
    else:
        management = _listen(settings.management_host, settings.management_port, shared=False)
        addresses = {"management": url_of(*management.getsockname()[:2])}
    if settings.has_control_plane:
        over_tcp = _listen(settings.control_host, settings.control_port, shared=False)
        control = over_tcp, _listen_unix(settings.state_folder() / CONTROL_SOCKET, 0o600)
        addresses["control"] = url_of(*over_tcp.getsockname()[:2])
    if workers and settings.unix_socket is not None:
        unix = _listen_unix(settings.unix_socket, 0o660)
        addresses["unix"] = str(settings.unix_socket)
    return Sockets(data, unix, management, control, Doors.open(blocks), addresses)


def url_of(host: str, port: int, scheme: str = "http") -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _refuse_to_share(host: str, port: int) -> None:
    """Raises OSError where somebody else listens: with SO_REUSEPORT two servers would share a port unawares."""
    if port:
        _listen(host, port, shared=False).close()


def _listen(host: str, port: int, *, shared: bool) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise OSError(f"cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}") from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(
            error.errno, f"cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}"
        ) from None
    listener.setblocking(False)
    return listener


def _begin_no_more(listener: socket.socket) -> None:
    """Drops the first packet of new connections, and lets those that are being opened get ready.

    To close a listening socket resets what the kernel has accepted and the process has not. Callers that are dropped
    try again, and are refused once it is closed.
    """
    flags_at, syn = 13, 0x02  # in a TCP header
    program = b"".join(
        struct.pack("HBBI", *each)
        for each in (
            (0x30, 0, 0, flags_at),  # load the byte
            (0x45, 0, 1, syn),  # is it the first packet?
            (0x06, 0, 0, 0),  # drop
            (0x06, 0, 0, 0xFFFFFFFF),  # keep all of it
        )
    )
    code = ctypes.create_string_buffer(program, len(program))
    with contextlib.suppress(OSError):  # not Linux, or not allowed
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 4, ctypes.addressof(code)))


def short(path: Path) -> str:
    """A way to it that fits into the address of a Unix socket, which has room for some 100 bytes.

    Where it needs one, a descriptor of its folder stays open as long as the process lives.
    """
    if len(os.fsencode(path)) < 100:
        return str(path)
    return f"/proc/self/fd/{os.open(path.parent, os.O_PATH | os.O_DIRECTORY)}/{path.name}"


def _listen_unix(path: Path, mode: int) -> socket.socket:
    """A socket that was left behind is replaced; one that somebody listens on is not, nor is any other file."""
    listener, address = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), short(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.stat().st_mode):
                raise FileExistsError(errno.EEXIST, "it is there, and not a socket")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(address) != 0:
                    path.unlink()
        before = os.umask(0o777 & ~mode)
        try:
            listener.bind(address)
        finally:
            os.umask(before)
        os.chmod(path, mode)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on `{path}`: {(error.strerror or str(error)).lower()}") from None
    listener.setblocking(False)
    return listener
