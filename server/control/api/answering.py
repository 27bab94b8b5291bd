"""A route of the table as a handler of aiohttp: who asks, may they, what did they send, and the answer as bytes.

Refusals are in this order: 401, 404, 403, then what is wrong with the request itself, then what the handler says.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from server.control.api import idempotency
from server.control.api.frame import PARAMETERS, Answer, Call, Route
from server.control.api.strict_json import StrictJsonError, read_json
from server.control.auth import authorise, principal_of
from server.control.parts import Parts
from server.control.problems import ProblemError, not_found
from server.http.body import ReadBody, body_reader
from server.http.failures import JSON, NO_STORE

_PATTERNS = {name: re.compile(pattern, re.ASCII) for name, pattern in PARAMETERS.items()}


def handler_of(route: Route, parts: Parts) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    read_body = body_reader(parts.settings.max_body_bytes, parts.settings.body_timeout)
    in_flight: set[tuple[str, str]] = set()

    async def handle(request: web.Request) -> web.StreamResponse:
        principal = await principal_of(request, parts.record)
        path = _path_of(request)
        authorise(route.need, principal, path)
        query = _query_of(route, request)
        content = await _content_of(route, request, read_body)
        body = _body_of(route, content)
        once = idempotency.once_of(request, principal.selector, content) if route.method == "POST" else None
        call: Call[Any, Any] = Call(parts, principal, request, path, body, query, once)
        if once is None:
            return _response_of(await route.handler(call))
        if (kept := await once.kept(parts.record)) is not None:
            return await route.again(call, kept) if route.again is not None else kept
        if (once.actor, once.key) in in_flight:
            raise ProblemError(409, "in-flight", "the first request with this `Idempotency-Key` is not answered yet")
        in_flight.add((once.actor, once.key))
        try:
            return _response_of(await route.handler(call))
        finally:
            in_flight.discard((once.actor, once.key))

    return handle


def _path_of(request: web.Request) -> Mapping[str, str]:
    path = dict(request.match_info)
    for name, value in path.items():
        if _PATTERNS[name].fullmatch(value) is None:
            raise not_found()
    return path


def _query_of(route: Route, request: web.Request) -> Any:
    given = dict(request.query)
    if len(given) != len(request.query):
        raise ProblemError(400, "bad-request", "a parameter is there twice")
    if any("\x00" in each for each in given.values()):
        raise ProblemError(400, "bad-request", "a parameter holds U+0000")
    if route.query is None:
        if given:
            raise ProblemError(400, "bad-request", "this path takes no parameters")
        return None
    try:
        return msgspec.convert(given, route.query, strict=False)
    except msgspec.ValidationError as error:
        raise ProblemError(400, "bad-request", said(error)) from None


async def _content_of(route: Route, request: web.Request, read_body: ReadBody) -> bytes:
    if route.body is None or (route.body_optional and not request.can_read_body):
        return b""
    return await read_body(request)


def _body_of(route: Route, content: bytes) -> Any:
    if route.body is None:
        return None
    if route.body_optional and not content:
        return route.body()
    try:
        return msgspec.convert(read_json(content), route.body)
    except StrictJsonError as error:
        raise ProblemError(400, "bad-request", str(error)) from None
    except msgspec.ValidationError as error:
        raise ProblemError(422, "invalid", said(error)) from None


def said(error: msgspec.ValidationError) -> str:
    """Its message with the place first, and without the value it may quote.

    >>> said(msgspec.ValidationError("Expected `int`, got `str` - at `$.approvals`"))
    'approvals: expected `int`, got `str`'
    """
    what, _, place = str(error).partition(" - at ")
    what = re.sub(r"^Invalid (enum )?value .*", "not one of the values that it may have", what)
    if what.startswith("Object contains unknown field"):
        what = "unknown member"
    where = place.strip("`").removeprefix("$").removeprefix(".")
    return f"{where}: {what[:1].lower()}{what[1:]}" if where else f"{what[:1].lower()}{what[1:]}"


def _response_of(answer: Answer) -> web.Response:
    headers = {**NO_STORE, **idempotency.headers_of(answer)}
    if answer.value is None:
        return web.Response(status=answer.status, headers=headers)
    return web.Response(
        status=answer.status, body=msgspec.json.encode(answer.value), content_type=JSON, headers=headers
    )
