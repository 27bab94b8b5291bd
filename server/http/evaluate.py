"""The batch: many contexts, some or all flags, one snapshot version for the whole reply. docs/batch.md has the bodies.

POST /v1/evaluate      {"contexts": [{"targetingKey": "u-1"}, {"targetingKey": "u-2"}], "flags": ["checkout"]}
"""

from __future__ import annotations

from typing import Literal

from aiohttp import web

from engine import error_code_of
from server.evaluations.telemetry import Telemetry
from server.http.authenticate import GRANT
from server.http.body import ReadBody
from server.http.environment import answer_headers, served_for
from server.http.failures import JSON
from server.state.catalog import Catalog

MSGPACK = ("application/msgpack", "application/vnd.msgpack")


class Evaluate:
    def __init__(self, catalog: Catalog, read_body: ReadBody, telemetry: Telemetry | None) -> None:
        self._catalog = catalog
        self._read_body = read_body
        self._telemetry = telemetry

    async def batch(self, request: web.Request) -> web.Response:
        body = await self._read_body(request)
        served = served_for(request, self._catalog)
        media_type = media_type_of(request.headers.get("Accept", ""))
        encoding: Literal["json", "msgpack"] = "json" if media_type == JSON else "msgpack"
        reply = served.snapshot.evaluate_batch(body, encoding=encoding, client=request[GRANT].client)
        failed = error_code_of(reply) is not None
        if self._telemetry is not None and self._telemetry.sampled():
            self._telemetry.record(served, body, reply, packed=encoding == "msgpack" and not failed)
        return web.Response(
            status=400 if failed else 200,
            body=reply,
            content_type=JSON if failed else media_type,
            headers={**answer_headers(served, self._catalog), "Vary": "Accept"},
        )


def media_type_of(accept: str) -> str:
    """MessagePack where it is named and JSON is not preferred, under the name it was asked for by; else JSON.

    >>> media_type_of("application/json;q=0.5, application/msgpack")
    'application/msgpack'
    >>> media_type_of("*/*")
    'application/json'
    """
    best, best_weight = JSON, 0.0
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        if name != JSON and name not in MSGPACK:
            continue
        weight = next((_weight(each) for each in parameters if each.startswith("q=")), 1.0)
        if weight > best_weight:
            best, best_weight = name, weight
    return best


def _weight(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0
