"""aiohttp's listener, but for what it says about a message that is not HTTP.

aiohttp answers such a message, and logs it, with the offending line: which may be the one with the key. This answers
`400 {"errorDetails": "the request is not well-formed HTTP"}` and logs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from server.http.failures import failure

_SILENT = logging.Logger("silent", level=logging.CRITICAL + 1)


class _Connection(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        details = "the request is not well-formed HTTP" if status < 500 else "an internal error"
        response = failure(status, details)
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    def __init__(self, app: web.Application, *, keepalive_timeout: float, shutdown_timeout: float) -> None:
        super().__init__(
            app,
            access_log=None,
            logger=_SILENT,
            auto_decompress=False,
            keepalive_timeout=keepalive_timeout,
            shutdown_timeout=shutdown_timeout,
            lingering_time=2.0,  # seconds that the rest of a refused body is read, so that its sender sees the answer
        )

    def protocol(self) -> RequestHandler:
        """For a connection that another protocol hands over."""
        assert self.server is not None
        return self.server()

    async def _make_server(self) -> web.Server:
        made: Any = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=asyncio.get_running_loop(),
            **made._kwargs,
        )
