"""The agent's end of the counts: from the workers' doors into the database, each message once.

    the first message of each door  ->  one transaction  ->  off the doors

A message stays in its door until it is committed, so an agent that is killed loses none, and one whose disk is full
holds none: the doors fill up, and the workers go on counting where they count. Memory: one message a door.
"""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import Callable, Sequence

import structlog

from server.evaluations.database import DatabaseThread
from server.evaluations.messages import LARGEST, Counted, decoded

PAUSE = 0.2  # seconds between two looks at the doors
RETRY = 2.0  # seconds until a database that cannot be used is tried again


class Collector:
    def __init__(
        self,
        doors: Sequence[socket.socket],
        database: DatabaseThread,
        heard: Callable[[Counted], None],
        failed: Callable[[], None],
    ) -> None:
        """`heard` is told of every message that is in the database, `failed` that one could not be written."""
        self._doors = doors
        self._database = database
        self._heard = heard
        self._failed = failed
        self._failing = False
        self._log = structlog.get_logger("evaluations")

    async def run(self) -> None:
        while True:
            while await self._write():
                pass
            await asyncio.sleep(RETRY if self._failing else PAUSE)

    async def finish(self) -> None:
        """What is in the doors now."""
        while await self._write():
            pass

    async def _write(self) -> bool:
        """One transaction. False: there is nothing, or nothing can be written."""
        messages = [(door, each) for door in range(len(self._doors)) if (each := _first(self._doors[door])) is not None]
        if not messages:
            return False
        try:
            fresh = await self._database.call(lambda database: database.add(messages))
        except (sqlite3.Error, OSError) as error:
            self._failed()
            if not self._failing:
                self._log.error("counts cannot be written; workers keep them meanwhile", why=str(error))
            self._failing = True
            return False
        except Exception:  # not a reason for an agent to end
            self._failed()
            self._log.exception("counts were lost")
            fresh = [False] * len(messages)
        self._failing = False
        for (door, each), new in zip(messages, fresh, strict=True):
            self._doors[door].recv(LARGEST)
            if new:
                self._heard(each)
        return True


def _first(door: socket.socket) -> Counted | None:
    """The oldest message, left where it is; what is before it and is none is dropped."""
    while True:
        try:
            datagram = door.recv(LARGEST, socket.MSG_PEEK)
        except OSError:  # there is none
            return None
        message = decoded(datagram)
        if message is not None or not datagram:
            return message
        door.recv(LARGEST)
