"""One keep-alive connection of a generator: a request out, its whole reply in, no more of HTTP than that takes.

    send(7, b"POST …")  ->  generator.answered(connection, 7, 200, b"{…}"), or failed(7, sent, "closed")

Replies are framed by Content-Length, or have no body (204, 304). Anything else is `malformed`, and closes the
connection.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Protocol, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close\r", re.IGNORECASE)


class Owner(Protocol):
    def answered(self, connection: Connection, number: int, status: int, body: bytes) -> None: ...
    def failed(self, number: int, sent: float, why: str) -> None: ...
    def lost(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    __slots__ = (
        "_buffer", "_gathers", "_number", "_owner", "_rest", "_status", "_transport", "busy", "closing", "sent",
        "sent_before",
    )  # fmt: skip

    def __init__(self, owner: Owner, gathers: bool) -> None:
        self._owner = owner
        self._gathers = gathers  # whether bodies are kept
        self._number = 0
        self._buffer = b""  # of a head that is not all there, or of a body that is kept
        self._rest = 0  # bytes of a body that is not kept and not all there
        self._status = 0
        self.busy = False
        self.closing = False
        self.sent = 0.0  # time.monotonic() of the request in flight
        self.sent_before = 0.0  # of the one just answered

    def send(self, number: int, request: bytes) -> None:
        self._number = number
        self.busy = True
        self.sent = time.monotonic()
        self._transport.write(request)

    def give_up(self) -> None:
        self._fail("timeout")
        self.close()

    def close(self) -> None:
        self.closing = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own inherits nothing

    def connection_lost(self, error: Exception | None) -> None:
        self.closing = True
        if self.busy:
            self._fail("closed")
        self._owner.lost(self)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            self._rest -= len(data)
            if self._rest <= 0:
                self._complete(self._status, b"", extra=self._rest < 0)
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = data
            return
        head = data[: end + 2]
        status = int(data[9:12]) if data.startswith(b"HTTP/1.1 ") and data[9:12].isdigit() else 0
        length = _LENGTH.search(head)
        if not self.busy or status < 200 or (length is None and status not in (204, 304)):
            self._malformed()
            return
        rest = (int(length[1]) if length and status != 304 else 0) - (len(data) - end - 4)
        if b"lose" in head and _CLOSE.search(head):
            self.closing = True
        if rest <= 0:
            self._complete(status, data[end + 4 :] if self._gathers else b"", extra=rest < 0)
        elif self._gathers:
            self._buffer = data
        else:
            self._status, self._rest = status, rest

    def _complete(self, status: int, body: bytes, *, extra: bool) -> None:
        self._rest = 0
        if extra:
            self._malformed()
            return
        self.busy = False
        self.sent_before = self.sent
        self._owner.answered(self, self._number, status, body)
        if self.closing:
            self._transport.abort()

    def _malformed(self) -> None:
        if self.busy:
            self._fail("malformed")
        self.close()

    def _fail(self, why: str) -> None:
        self.busy = False
        self._owner.failed(self._number, self.sent, why)
