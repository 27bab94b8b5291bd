"""A client of event streams on a bare socket, as an EventSource reads them.

with EventSource(server.address, uri) as stream:
    stream.next_event()
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Self

from tests.server.running import PATIENCE


class Event(NamedTuple):
    id: str
    data: str


class EventSource:
    def __init__(self, address: tuple[str, int], uri: str, *headers: str, version: str = "1.1") -> None:
        self._socket = socket.create_connection(address, timeout=PATIENCE)
        self._socket.sendall("\r\n".join([f"GET {uri} HTTP/{version}", "Host: localhost", *headers, "", ""]).encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers: dict[str, str] = {}
        while line := self._file.readline().strip().decode():
            name, _, value = line.partition(": ")
            self.headers[name.lower()] = value
        self.retry = 0  # milliseconds
        self.last_id = ""
        self.comments = 0
        self.ended = False  # as a body should
        self._lines = self._read_lines()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def next_event(self) -> Event | None:
        """None when the stream has ended. Waits for one, and passes over comments."""
        data: list[str] = []
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "retry":
                self.retry = int(value)
            elif name == "data":
                data.append(value)
            elif line.startswith(":"):
                self.comments += 1
            elif not line and data:
                return Event(self.last_id, "\n".join(data))
        return None

    def is_quiet(self, comments: int = 2) -> bool:
        """Does no event come before so many comments?"""
        until = self.comments + comments
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name == "data":
                return False
            if name == "id":
                self.last_id = value
            self.comments += line.startswith(":")
            if self.comments == until:
                return True
        return False

    def _read_lines(self) -> Iterator[str]:
        if self.headers.get("transfer-encoding") != "chunked":
            yield from (line.rstrip(b"\n").decode() for line in self._file)
            return
        rest = b""
        while size := self._file.readline():
            chunk = self._file.read(int(size, 16) + 2)
            if chunk == b"\r\n":
                self.ended = True
                return
            *lines, rest = (rest + chunk[:-2]).split(b"\n")
            yield from (line.decode() for line in lines)
