"""The key a request presents, and what it opens.

    Authorization: Bearer burgee_server_…        or        X-API-Key: burgee_server_…

becomes `request[GRANT]`; the address of an event stream has it too (event_address.py). Every routed handler of the data
plane is behind this middleware; a route that is not in PERMITTED opens to nobody.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from aiohttp import web
from aiohttp.typedefs import Handler

from server.http import event_address
from server.http.failures import Refused
from server.http.presented_key import MISSING, SEVERAL, UNKNOWN, KeyRefusal, opened_by
from server.shared.page import Block
from server.state.catalog import Catalog
from server.sync.messages import SYNC_ROUTES
from server.types import EVALUATING, Grant, KeyKind

GRANT = web.RequestKey("grant", Grant)

EVENTS = "ofrep_events"
SYNC = "sync"  # as metrics name all of SYNC_ROUTES
PERMITTED: Mapping[str, frozenset[KeyKind]] = {
    "evaluate": EVALUATING,
    "ofrep_flag": EVALUATING,
    "ofrep_flags": EVALUATING,
    EVENTS: EVALUATING,
    **dict.fromkeys(SYNC_ROUTES, frozenset({KeyKind.EDGE})),
}


def route_of(request: web.Request) -> str:
    """As metrics name it: a path that is no route must not make a series of its own."""
    name = request.match_info.route.name or "none"
    return SYNC if name in SYNC_ROUTES else name


class Authenticate:
    __middleware_version__ = 1

    def __init__(self, catalog: Catalog, block: Block) -> None:
        self._catalog = catalog
        self._block = block

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.match_info.http_exception is None:  # else there is no handler to guard: 404 or 405
            by_address = request.match_info.route.name == EVENTS and _is_address(request)
            request[GRANT] = self._grant_by_address(request) if by_address else self._grant_of(request)
        return await handler(request)

    def _grant_of(self, request: web.Request) -> Grant:
        self._catalog.refresh()
        found = self._opened_by(_presented(request), request.match_info.route.name or "")
        if isinstance(found, Grant):
            return found
        if found is UNKNOWN and not self._catalog.ready:
            # Clients give up for good on a 401, so it must not be said before all keys are known.
            raise Refused(503, "keys are still being read", code="PROVIDER_NOT_READY", headers={"Retry-After": "1"})
        self._block.refuse_key(found.reason)
        raise Refused(found.status, found.details, headers=found.headers)

    def _opened_by(self, presented: set[str], route: str) -> Grant | KeyRefusal:
        if len(presented) != 1:
            return SEVERAL if presented else MISSING
        return opened_by(presented.pop(), PERMITTED.get(route, frozenset()), self._catalog.grant, time.time())

    def _grant_by_address(self, request: web.Request) -> Grant:
        """Narrowed to the environment that the address names."""
        self._catalog.refresh()
        opened = event_address.opened_by(request, self._catalog, time.time())
        if not isinstance(opened, str):
            grant, environment = opened
            if grant.kind not in PERMITTED[EVENTS]:
                self._block.refuse_key("kind")
                raise Refused(403, f"a key of kind `{grant.kind}` may not do this")
            return replace(grant, environments=(environment,))
        if opened == "unknown" and not self._catalog.ready:
            raise Refused(503, "keys are still being read", code="PROVIDER_NOT_READY", headers={"Retry-After": "1"})
        self._block.refuse_key(opened)
        details = "the address is not valid (hint: a bulk evaluation gives a new one)"
        raise Refused(401, details, headers={"WWW-Authenticate": "Bearer"})


def _is_address(request: web.Request) -> bool:
    """A key in a header counts more."""
    return event_address.TOKEN in request.query and not {"Authorization", "X-API-Key"} & request.headers.keys()


def _presented(request: web.Request) -> set[str]:
    """The keys of a request, one that comes twice once."""
    found = set(request.headers.getall("X-API-Key", ()))
    for value in request.headers.getall("Authorization", ()):
        scheme, _, token = value.partition(" ")
        found.add(token.strip() if scheme.lower() == "bearer" else "")
    return found
