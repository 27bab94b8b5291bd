"""Cross-origin requests of browsers, for client keys: which pages may read the answers. Fetch standard, 3.2.

    Origin: https://shop.example          and the key file's  origins: {production: ["https://shop.example"]}

gives `Access-Control-Allow-Origin: https://shop.example`. A preflight has no key, so it is answered for every origin
that some environment allows; the request that follows is refused where its own environment does not. Server keys do
not belong in browsers: their answers never have these headers.
"""

from __future__ import annotations

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from server.http.authenticate import GRANT
from server.http.failures import Refused, failure
from server.shared.page import Block
from server.state.catalog import Catalog
from server.types import EnvironmentId

EXPOSED = "ETag, Retry-After, Burgee-Version, Burgee-Age"
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": (
        "authorization, x-api-key, content-type, if-none-match, burgee-environment, last-event-id, cache-control"
    ),
    "Access-Control-Max-Age": "600",
    "Vary": "Origin",
}
BLOCK = web.AppKey("block", Block)


def check_origin(request: web.Request, catalog: Catalog, environment: EnvironmentId) -> None:
    """Raises Refused where a page may not use this client key."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and request[GRANT].client and not catalog.allows(environment, origin):
        request.app[BLOCK].refuse_key("origin")
        raise Refused(403, "the key's environment does not allow this origin")


class Cors:
    """Outside of all that answers, so that errors can be read too."""

    __middleware_version__ = 1

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return await handler(request)
        if _is_preflight(request):
            return self._preflight(origin)
        response = await handler(request)
        if self._may_read(request, origin):
            response.headers.update(allowed(origin))
            response.headers["Vary"] = ", ".join(filter(None, (response.headers.get("Vary"), "Origin")))
        return response

    def _preflight(self, origin: str) -> web.Response:
        self._catalog.refresh()
        if not self._catalog.knows_origin(origin):
            return failure(403, "no environment allows this origin", headers={"Vary": "Origin"})
        return web.Response(status=204, headers={**PREFLIGHT, "Access-Control-Allow-Origin": origin})

    def _may_read(self, request: web.Request, origin: str) -> bool:
        """Also what is refused before the key or its environment is known may be read by a page that could be right."""
        grant = request.get(GRANT)
        if grant is None:
            return self._catalog.knows_origin(origin)
        return grant.client and any(self._catalog.allows(each, origin) for each in grant.environments)


def allowed(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED}


def _is_preflight(request: web.Request) -> bool:
    """Of a path that there is."""
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        and isinstance(request.match_info.http_exception, web.HTTPMethodNotAllowed)
    )
