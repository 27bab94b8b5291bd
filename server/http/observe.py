"""Counts and times every request, and logs it where that is switched on. The outermost middleware."""

from __future__ import annotations

import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from server.http.authenticate import GRANT, route_of
from server.http.environment import ENVIRONMENT
from server.shared.page import Block
from server.state.catalog import Catalog


class Observe:
    __middleware_version__ = 1

    def __init__(self, catalog: Catalog, block: Block, *, access_log: bool) -> None:
        self._catalog = catalog
        self._block = block
        self._access_log = access_log
        self._log = structlog.get_logger("access")

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = route_of(request)
        started = time.perf_counter()
        self._block.in_flight += 1
        try:
            response = await handler(request)
        finally:
            self._block.in_flight -= 1
        seconds = time.perf_counter() - started
        self._block.count(route, response.status)
        self._block.observe(route, seconds)
        if self._catalog.draining:
            response.force_close()  # so that the caller's next request goes to another server
        if self._access_log:
            grant, environment = request.get(GRANT), request.get(ENVIRONMENT)
            self._log.info(
                "request",
                method=request.method,
                route=route,
                status=response.status,
                milliseconds=round(seconds * 1000, 3),
                key=grant.selector if grant else None,
                tenant=grant.project.tenant if grant else None,
                environment=str(environment) if environment else None,
            )
        return response
