"""The OpenFeature Remote Evaluation Protocol 0.3: one flag, or all flags with an entity tag.

    POST /ofrep/v1/evaluate/flags/checkout      {"context": {"targetingKey": "u-1"}}

becomes `{"key": "checkout", "value": true, "reason": "TARGETING_MATCH", "variant": "on", …}`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime

from aiohttp import web

from engine import error_code_of
from server.evaluations.telemetry import Telemetry
from server.http.authenticate import GRANT
from server.http.body import ReadBody
from server.http.environment import answer_headers, served_for
from server.http.event_address import offer, without_mark
from server.http.failures import JSON, Refused
from server.state.catalog import Catalog

STATUS_OF: Mapping[str | None, int] = {None: 200, "FLAG_NOT_FOUND": 404}  # any other code: 400


class Ofrep:
    def __init__(self, catalog: Catalog, read_body: ReadBody, telemetry: Telemetry | None, *, streams: bool) -> None:
        """`streams`: bulk answers offer an event stream."""
        self._catalog = catalog
        self._read_body = read_body
        self._telemetry = telemetry
        self._streams = streams

    async def flag(self, request: web.Request) -> web.Response:
        body = await self._read_body(request)
        served = served_for(request, self._catalog)
        reply = served.snapshot.evaluate_json(
            body, request.match_info["key"], client=request[GRANT].client, stale=self._catalog.stale(served)
        )
        if self._telemetry is not None and self._telemetry.sampled():
            self._telemetry.record(served, body, reply)
        return web.Response(
            status=STATUS_OF.get(error_code_of(reply), 400),
            body=reply,
            content_type=JSON,
            headers=answer_headers(served, self._catalog),
        )

    async def flags(self, request: web.Request) -> web.Response:
        _check_last_modified(request)
        body = await self._read_body(request)
        known = ", ".join(request.headers.getall("If-None-Match", ())) or None
        served = served_for(request, self._catalog)
        headers = answer_headers(served, self._catalog)
        grant = request[GRANT]
        offered = offer(grant, served.id, time.time()) if self._streams else None
        if offered is not None and known is not None:
            known = without_mark(known, offered.mark)
        tag, reply = served.snapshot.evaluate_json_if_changed(
            body, known, client=grant.client, stale=self._catalog.stale(served)
        )
        if offered is not None and tag:
            tag = f'{tag[:-1]}{offered.mark}"'
        if reply is None:
            return web.Response(status=304, headers={**headers, "ETag": tag})
        if self._telemetry is not None and self._telemetry.sampled():
            self._telemetry.record(served, body, reply)
        if error_code_of(reply) is not None:
            return web.Response(status=400, body=reply, content_type=JSON, headers=headers)
        headers["ETag"] = tag
        if offered is not None:
            reply = reply[:-1] + offered.tail
        return web.Response(body=reply, content_type=JSON, headers=headers)


def _check_last_modified(request: web.Request) -> None:
    """`flagConfigEtag` and `flagConfigLastModified` say what an event announced. Answers are always current here, so
    neither changes anything; a value that the protocol does not allow is refused."""
    for value in request.query.getall("flagConfigLastModified", ()):
        if re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
            continue
        try:
            moment = datetime.fromisoformat(value.replace(" ", "+"))  # a `+` that was not encoded
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise Refused(
                400, "`flagConfigLastModified` must be seconds since the epoch or an ISO 8601 date-time", code="GENERAL"
            )
