"""The event stream of an environment (OFREP, ADR 0008): `text/event-stream` that says when to evaluate again.

GET /ofrep/v1/events?environment=shop/web/production&key=…&expires=…&token=…

as a bulk answer's `eventStreams` has it, or with a key in a header, and `Burgee-Environment` as elsewhere. aiohttp
writes the head; then the connection is that of streams.py.
"""

from __future__ import annotations

import asyncio

from aiohttp import HttpVersion11, hdrs, web

from server.front.admission import TEXTS, Admission
from server.http.authenticate import GRANT
from server.http.environment import environment_for
from server.http.failures import NO_STORE, Refused
from server.http.listener import GivenAway
from server.state.catalog import Catalog
from server.streams import Streams

HEADERS = {
    **NO_STORE,
    "Content-Type": "text/event-stream",
    "X-Accel-Buffering": "no",  # nginx would keep events to itself
}


class Events:
    def __init__(self, catalog: Catalog, streams: Streams, admission: Admission) -> None:
        self._catalog = catalog
        self._streams = streams
        self._admission = admission

    async def stream(self, request: web.Request) -> web.StreamResponse:
        grant, environment = request[GRANT], environment_for(request, self._catalog)
        if refused := self._admission.refused_stream(self._admission.tenant(environment.tenant)):
            limit, seconds = refused
            raise Refused(429, TEXTS[limit], headers={"Retry-After": str(seconds)})
        chunked = request.version >= HttpVersion11
        last_seen = request.headers.get("Last-Event-ID")
        origin = request.headers.get(hdrs.ORIGIN) if grant.client else None

        def begin(transport: asyncio.Transport) -> None:
            self._streams.add(transport, grant, environment, last_seen, chunked, origin)

        return GivenAway(begin, headers=HEADERS)
