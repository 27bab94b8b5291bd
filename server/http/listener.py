"""aiohttp's listener, but for what it says about a message that is not HTTP, how long it waits for a client,
and connections it gives away.

aiohttp answers such a message, and logs it, with the offending line: which may be the one with the key. This answers
`400 {"errorDetails": "the request is not well-formed HTTP"}` and logs nothing; so too what says it is HTTP/2.0 or 0.9.
Where aiohttp waits for long, or for ever (for the rest of a head; for a client that does not read its answer), the
connection has the deadlines that the front gives it.

A `GivenAway` response is a head whose connection another protocol goes on with: aiohttp's task for it ends, as if the
connection were lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.web_protocol import RequestHandler

from server.http.failures import failure
from server.settings import Settings

_SILENT = logging.Logger("silent", level=logging.CRITICAL + 1)

SHORTEST = 0.01  # seconds: to aiohttp, 0 is for ever

_NOT_HTTP = "the request is not well-formed HTTP"


class GivenAway(web.StreamResponse):
    def __init__(self, begin: Callable[[asyncio.Transport], None], *, headers: Mapping[str, str]) -> None:
        """`begin` is called with the transport, once the head is written."""
        super().__init__(headers=headers)
        self.begin = begin

    async def write_eof(self, data: bytes = b"") -> None:
        """Not yet."""


class _Connection(RequestHandler):
    __slots__ = ("_arrived", "_head_timeout", "_head_timer", "_unread_timer")

    def __init__(
        self, server: web.Server, arrived: Callable[[], None], *, head_timeout: float, **arguments: Any
    ) -> None:
        super().__init__(server, **arguments)
        self._arrived = arrived
        self._head_timeout = head_timeout
        self._head_timer: asyncio.TimerHandle | None = None  # until the rest of a head
        self._unread_timer: asyncio.TimerHandle | None = None  # until the client reads on

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head_timer = self._loop.call_later(self._head_timeout, self.force_close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_came()
        self._reads_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._arrived()
        before = self._request_count
        super().data_received(data)
        if self._request_count > before:
            self._head_came()
        elif self._head_timer is None and self._waiter is not None and not self._waiter.done():  # between requests
            self._head_timer = self._loop.call_later(self._head_timeout, self.force_close)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread_timer is None and self.transport is not None:
            self._unread_timer = self._loop.call_later(self.keepalive_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        self._reads_on()
        super().resume_writing()

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _reads_on(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        return _last_answer(status, _NOT_HTTP if status < 500 else "an internal error")

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        response, gone = await super().finish_response(request, resp, start_time)
        if isinstance(response, GivenAway) and self.transport is not None:
            transport, self.transport = self.transport, None  # so that it is not closed by what follows
            self.connection_lost(None)
            response.begin(transport)
        return response, gone


def _last_answer(status: int, details: str) -> web.Response:
    response = failure(status, details, headers={"Server": "burgee"})
    response.force_close()
    return response


class _Server(web.Server):
    arrived: Callable[[], None]

    def __call__(self) -> RequestHandler:
        return _Connection(self, self.arrived, loop=self._loop, **self._kwargs)


def _of_what_we_speak(handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> Any:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request._version not in (HttpVersion10, HttpVersion11):  # `.version` would stay what it is
            request._version = HttpVersion11  # of the answer
            return _last_answer(400, _NOT_HTTP)
        try:
            response = await handler(request)
        except (web.HTTPExpectationFailed, UnicodeError):  # aiohttp's, where there is no route; it would repeat it
            return _last_answer(417, "the expectation cannot be met")
        response.headers["Server"] = "burgee"  # not which versions of what
        if "Transfer-Encoding" in request.headers:
            response.force_close()  # aiohttp takes the last trailer of a request for a header of the one that follows
        return response

    return handle


async def listen(
    app: web.Application, listener: socket.socket, settings: Settings, stack: contextlib.AsyncExitStack
) -> None:
    """An application that evaluates nothing, on a socket that was opened before; until the stack ends."""
    runner = Runner(
        app,
        head_timeout=settings.head_timeout,
        keepalive_timeout=settings.keepalive_timeout,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listener).start()


class Runner(web.AppRunner):
    def __init__(
        self,
        app: web.Application,
        *,
        head_timeout: float,
        keepalive_timeout: float,
        shutdown_timeout: float,
        arrived: Callable[[], None] = lambda: None,
    ) -> None:
        """`arrived` is told when bytes have."""
        self._arrived = arrived
        self._ends: float | None = None
        super().__init__(
            app,
            head_timeout=head_timeout,
            access_log=None,
            logger=_SILENT,
            auto_decompress=False,
            keepalive_timeout=keepalive_timeout,
            shutdown_timeout=shutdown_timeout,
            lingering_time=2.0,  # seconds that the rest of a refused body is read, so that its sender sees the answer
        )

    def end_by(self, moment: float) -> None:
        """Requests in flight have until then (monotonic seconds), and not as long again as others had before them."""
        self._ends = moment

    async def cleanup(self) -> None:
        if self._ends is not None:
            self._shutdown_timeout = max(SHORTEST, self._ends - time.monotonic())
        await super().cleanup()

    @property
    def connections(self) -> int:
        return len(self.server.connections) if self.server is not None else 0

    def protocol(self) -> RequestHandler:
        """For a connection that another protocol hands over."""
        assert self.server is not None
        return self.server()

    async def _make_server(self) -> web.Server:
        made: Any = await super()._make_server()
        server = _Server(
            _of_what_we_speak(made.request_handler),
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=asyncio.get_running_loop(),
            **made._kwargs,
        )
        server.arrived = self._arrived
        return server
