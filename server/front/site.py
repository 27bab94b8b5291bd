"""A listener whose connections are the front's, with aiohttp behind it for what is not an evaluate request."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence

from server.front.protocol import Front

BACKLOG = 1024  # as the sockets were opened with


class FrontSite:
    """Started, it listens; leaving, it closes what it answers; stopped, it accepts no more; drained, all are closed."""

    def __init__(self, front: Front, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        """`sockets` listen already; `tls` is for those that are not Unix sockets."""
        self._front = front
        self._sockets = sockets
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._ticking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            tls = None if each.family == socket.AF_UNIX else self._tls
            start = loop.create_unix_server if each.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await start(self._front, sock=each, ssl=tls, backlog=BACKLOG))
        self._ticking = asyncio.create_task(self._tick())

    @property
    def connections(self) -> int:
        return self._front.connections

    def leave(self) -> None:
        self._front.leave()

    async def stop(self) -> None:
        for each in self._servers:
            each.close()

    async def drain(self, timeout: float) -> None:
        """Seconds for requests that are half here; what is idle is closed at once."""
        await self.stop()
        await self._front.drain(timeout)
        if self._ticking is not None:
            self._ticking.cancel()
        self._front.tick()  # the last counts

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._front.tick()
