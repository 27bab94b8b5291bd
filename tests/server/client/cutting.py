"""A TCP proxy that loses answers: what goes to the server arrives whole, what comes back is cut off.

with cutting(port, answers=1) as proxy: …        the first answer is lost, the next come through
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Cutting:
    port: int
    left: int  # answers that are still to be lost
    lost: list[bytes] = field(default_factory=list)
    method: bytes = b"POST"  # of the requests whose answers are lost


@contextmanager
def cutting(target: int, *, answers: int = 1, method: bytes = b"POST") -> Iterator[Cutting]:
    listener = socket.create_server(("127.0.0.1", 0))
    state = Cutting(listener.getsockname()[1], answers, method=method)

    def serve() -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_carry, args=(caller, target, state), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _carry(caller: socket.socket, target: int, state: Cutting) -> None:
    """One connection: requests of it one after another, each with its answer."""
    with caller, socket.create_connection(("127.0.0.1", target)) as server:
        while request := message_from(caller):
            server.sendall(request)
            answer = message_from(server)
            if state.left and request.startswith(state.method):
                state.left -= 1
                state.lost.append(answer)
                return  # closes both: the caller has sent all, and hears nothing
            caller.sendall(answer)


def message_from(source: socket.socket) -> bytes:
    """A whole message by its Content-Length; empty at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = source.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += source.recv(65536)
    return head + b"\r\n\r\n" + body
