"""Callers with keep-alive connections that behave: after `Connection: close` they open another.

with calling(server, 8) as callers:
    …
callers.lost        the requests that were sent and got no answer, or another than 200
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.server.processes.test_tls import request
from tests.server.running import PATIENCE, Running, until


@dataclass
class Callers:
    address: tuple[str, int]
    sent: bytes = field(default_factory=request)
    pause: float = 0.0  # seconds between an answer and the next request
    answered: int = 0
    versions: list[int] = field(default_factory=list)  # of one caller's answers
    lost: list[str] = field(default_factory=list)
    refused: int = 0  # connections, when nobody listened
    _stop: Event = field(default_factory=Event)

    def work(self) -> None:
        connection = None
        while not self._stop.is_set():
            try:
                connection = connection or socket.create_connection(self.address, timeout=PATIENCE)
            except ConnectionRefusedError:
                self.refused += 1
                time.sleep(0.05)
                continue
            head = self._ask(connection)
            if head is None or b"connection: close" in head:
                connection.close()
                connection = None
            if self.pause:
                time.sleep(self.pause)
        if connection is not None:
            connection.close()

    def _ask(self, connection: socket.socket) -> bytes | None:
        answer = b""
        try:
            connection.sendall(self.sent)
            while not answer.endswith(b"}"):
                part = connection.recv(1 << 16)
                if not part:
                    raise ConnectionError("closed without an answer")
                answer += part
        except OSError as error:
            self.lost.append(repr(error))
            return None
        if not answer.startswith(b"HTTP/1.1 200"):
            self.lost.append(repr(answer[:200]))
        self.answered += 1
        head = answer.partition(b"\r\n\r\n")[0].lower()
        self.versions.append(int(head.partition(b"burgee-version: ")[2].partition(b"\r")[0] or 0))
        return head


@contextmanager
def calling(server: Running, count: int, **given: Any) -> Iterator[Callers]:
    callers = Callers(server.address, **given)
    threads = [Thread(target=callers.work) for _ in range(count)]
    for each in threads:
        each.start()
    try:
        until(lambda: callers.answered > 20 * count or callers.lost)
        yield callers
    finally:
        callers._stop.set()
        for each in threads:
            each.join()


def children_of(pid: int) -> set[int]:
    return {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def family_of(pid: int) -> set[int]:
    """It, and all that came of it."""
    try:
        return {pid}.union(*(family_of(each) for each in children_of(pid)))
    except FileNotFoundError:
        return set()


def is_alive(pid: int, name: str = "") -> bool:
    try:
        found, state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[::2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.split()[0] != "Z" and found.endswith(name)


def workers_of(server: Running) -> set[int]:
    for _ in range(100):
        with contextlib.suppress(ConnectionError, http.client.HTTPException):  # the agent went while it was asked
            return {each["pid"] for each in server.manage("/status?limit=1").json["workers"]}
        time.sleep(0.02)
    raise AssertionError("no agent answers")


def agent_of(server: Running) -> int:
    """The one that lives, as soon as there is one; its name is as prctl set it."""

    def found() -> int:
        return next((each for each in children_of(server.process.pid) if is_alive(each, "burgee-agent")), 0)

    return int(until(found))  # never 0: os.kill takes that for the process group of the test
