"""The batch: many contexts, some or all flags, one snapshot version for the whole reply. docs/batch.md has the bodies.

POST /v1/evaluate      {"contexts": [{"targetingKey": "u-1"}, {"targetingKey": "u-2"}], "flags": ["checkout"]}

or `{"groups": [{"environment": "shop/web/production", "contexts": [{}]}]}`: each names its own environment.
"""

from __future__ import annotations

from typing import Literal

from aiohttp import web

from engine import error_code_of
from server.evaluations.telemetry import Telemetry
from server.http.authenticate import GRANT
from server.http.body import ReadBody
from server.http.cors import check_origin
from server.http.environment import ASKED, HEADER, Asked, answer_headers, served_for, served_of
from server.http.failures import JSON, NO_STORE, Refused
from server.http.groups import evaluate_groups, has_groups
from server.state.catalog import Catalog, Served
from server.types import EnvironmentId

MSGPACK = ("application/msgpack", "application/vnd.msgpack")


class Evaluate:
    def __init__(self, catalog: Catalog, read_body: ReadBody, telemetry: Telemetry | None) -> None:
        self._catalog = catalog
        self._read_body = read_body
        self._telemetry = telemetry

    async def batch(self, request: web.Request) -> web.Response:
        body = await self._read_body(request)
        if has_groups(body):
            if HEADER in request.headers:
                details = f"each of the `groups` names its environment (hint: leave out `{HEADER}`)"
                raise Refused(400, details, code="INVALID_CONTEXT")
            return self._groups(request, body)
        served = served_for(request, self._catalog)
        media_type = media_type_of(request.headers.get("Accept", ""))
        encoding: Literal["json", "msgpack"] = "json" if media_type == JSON else "msgpack"
        reply = served.snapshot.evaluate_batch(
            body, encoding=encoding, client=request[GRANT].client, stale=self._catalog.stale(served)
        )
        failed = error_code_of(reply) is not None
        if self._telemetry is not None and self._telemetry.sampled():
            self._telemetry.record(served, body, reply, packed=encoding == "msgpack" and not failed)
        return web.Response(
            status=400 if failed else 200,
            body=reply,
            content_type=JSON if failed else media_type,
            headers={**answer_headers(served, self._catalog), "Vary": "Accept"},
        )

    def _groups(self, request: web.Request, body: bytes) -> web.Response:
        grant = request[GRANT]
        media_type = media_type_of(request.headers.get("Accept", ""))

        request[ASKED] = asked = Asked()

        def served_named(name: str) -> Served:
            wanted = EnvironmentId(*parts) if len(parts := name.split("/")) == 3 else None
            if wanted is None or wanted not in grant.environments:
                raise Refused(403, "the key is not good for that environment")
            check_origin(request, self._catalog, wanted)
            served = served_of(self._catalog, wanted)
            asked.note(served)
            return served

        reply, served = evaluate_groups(
            body,
            self._catalog,
            served_named,
            self._any_served(grant.environments),
            encoding="json" if media_type == JSON else "msgpack",
            client=grant.client,
        )
        failed = error_code_of(reply) is not None
        headers = {**NO_STORE, "Vary": "Accept"}
        if served:  # versions differ, and are in the reply
            headers["Burgee-Age"] = str(int(max(map(self._catalog.age_of, served))))
        return web.Response(
            status=400 if failed else 200, body=reply, content_type=JSON if failed else media_type, headers=headers
        )

    def _any_served(self, environments: tuple[EnvironmentId, ...]) -> Served:
        """Whose snapshot reads what is around the groups."""
        found = next(filter(None, map(self._catalog.served, environments)), None)
        return found if found is not None else served_of(self._catalog, environments[0])


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
