"""A request's body: JSON, not encoded, not too large, not too slow; refused by its headers where they say enough."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import BadHttpMessage

from server.http.failures import JSON, Refused

ReadBody = Callable[[web.Request], Awaitable[bytes]]


def body_reader(max_bytes: int, timeout: float) -> ReadBody:
    """`max_bytes` must also be the application's client_max_size: it stops a body whose length was not declared."""
    too_large = f"the body is larger than {max_bytes} bytes"

    async def read_body(request: web.Request) -> bytes:
        if "Content-Encoding" in request.headers:
            raise Refused(415, "an encoded body is not accepted (hint: leave out `Content-Encoding`)")
        if "Content-Type" not in request.headers or request.content_type != JSON:
            raise Refused(415, f"the body must be `{JSON}`")
        if request.content_length is not None and request.content_length > max_bytes:
            raise Refused(413, too_large)
        try:
            if request.content.is_eof():  # it came with its head, as most do: spare them the timer
                return await request.read()
            async with asyncio.timeout(timeout):
                await _meet_expectation(request)
                return await request.read()
        except TimeoutError:
            raise Refused(408, "the body did not arrive in time", headers={"Connection": "close"}) from None
        except web.HTTPRequestEntityTooLarge:
            raise Refused(413, too_large) from None
        except (web.RequestPayloadError, BadHttpMessage):
            raise Refused(400, "the body is not framed as its headers say", code="PARSE_ERROR") from None

    return read_body


async def leave_expectation(request: web.Request) -> None:
    """In place of aiohttp's handler, which asks for the body before anybody looked at the key or the length."""


async def _meet_expectation(request: web.Request) -> None:
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
