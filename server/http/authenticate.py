"""The key a request presents, and what it opens.

    Authorization: Bearer burgee_server_…        or        X-API-Key: burgee_server_…

becomes `request[GRANT]`; the address of an event stream has it too (event_address.py). Every routed handler of the data
plane is behind this middleware; a route that is not in PERMITTED opens to nobody.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from dataclasses import replace

from aiohttp import web
from aiohttp.typedefs import Handler

from server import keys
from server.http import event_address
from server.http.failures import Refused
from server.shared.page import Block
from server.state.catalog import Catalog
from server.types import EVALUATING, Grant, KeyKind

GRANT = web.RequestKey("grant", Grant)

EVENTS = "ofrep_events"
PERMITTED: Mapping[str, frozenset[KeyKind]] = {
    "evaluate": EVALUATING,
    "ofrep_flag": EVALUATING,
    "ofrep_flags": EVALUATING,
    EVENTS: EVALUATING,
}


class Authenticate:
    __middleware_version__ = 1

    def __init__(self, catalog: Catalog, block: Block) -> None:
        self._catalog = catalog
        self._block = block

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.match_info.http_exception is None:  # else there is no handler to guard: 404 or 405
            by_address = request.match_info.route.name == EVENTS and _is_address(request)
            grant = self._grant_by_address(request) if by_address else self._grant_of(request)
            if grant.kind not in PERMITTED.get(request.match_info.route.name or "", frozenset()):
                self._block.refuse_key("kind")
                raise Refused(403, f"a key of kind `{grant.kind}` may not do this")
            request[GRANT] = grant
        return await handler(request)

    def _grant_of(self, request: web.Request) -> Grant:
        presented = _presented(request)
        if presented is None:
            raise self._unauthorized("missing", "no key was presented (hint: `Authorization: Bearer <key>`)")
        if not keys.looks_like_a_key(presented):
            raise self._unauthorized("malformed", "the key is not valid")
        digest = keys.digest_of(presented)
        self._catalog.refresh()
        grant = self._catalog.grant(digest)
        # The lookup already matched all 256 bits; comparing again costs nothing and needs no argument about dicts.
        if grant is None or not hmac.compare_digest(grant.digest, digest):
            if keys.selector_of(presented) is None:
                raise self._unauthorized("malformed", "the key is not valid")
            if not self._catalog.ready:
                # Clients give up for good on a 401, so it must not be said before all keys are known.
                raise Refused(503, "keys are still being read", code="PROVIDER_NOT_READY", headers={"Retry-After": "1"})
            raise self._unauthorized("unknown", "the key is not valid")
        if grant.expires is not None and grant.expires <= time.time():
            raise self._unauthorized("expired", "the key is not valid")
        return grant

    def _grant_by_address(self, request: web.Request) -> Grant:
        """Narrowed to the environment that the address names."""
        self._catalog.refresh()
        opened = event_address.opened_by(request, self._catalog, time.time())
        if not isinstance(opened, str):
            grant, environment = opened
            return replace(grant, environments=(environment,))
        if opened == "unknown" and not self._catalog.ready:
            raise Refused(503, "keys are still being read", code="PROVIDER_NOT_READY", headers={"Retry-After": "1"})
        raise self._unauthorized(opened, "the address is not valid (hint: a bulk evaluation gives a new one)")

    def _unauthorized(self, why: str, details: str) -> Refused:
        self._block.refuse_key(why)
        return Refused(401, details, headers={"WWW-Authenticate": "Bearer"})


def _is_address(request: web.Request) -> bool:
    """A key in a header counts more."""
    return event_address.TOKEN in request.query and not {"Authorization", "X-API-Key"} & request.headers.keys()


def _presented(request: web.Request) -> str | None:
    """The one key of a request; None where there is none, or several that differ."""
    found = set(request.headers.getall("X-API-Key", ()))
    for value in request.headers.getall("Authorization", ()):
        scheme, _, token = value.partition(" ")
        found.add(token.strip() if scheme.lower() == "bearer" else "")
    return found.pop() if len(found) == 1 else None
