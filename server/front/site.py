"""A listener whose connections are the front's, with aiohttp behind it for what is not an evaluate request."""

from __future__ import annotations

import asyncio

from server.front.protocol import Front


class FrontSite:
    """Started, it listens; stopped, it accepts no more; drained, its connections are closed."""

    def __init__(self, front: Front, host: str, port: int, *, backlog: int) -> None:
        self._front = front
        self._host = host
        self._port = port
        self._backlog = backlog
        self._server: asyncio.Server | None = None
        self._ticking: asyncio.Task[None] | None = None

    async def start(self) -> tuple[str, int]:
        """The address it has. Raises OSError when that cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._front, self._host, self._port, backlog=self._backlog)
        self._ticking = asyncio.create_task(self._tick())
        bound, given = self._server.sockets[0].getsockname()[:2]
        return bound, given

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

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
