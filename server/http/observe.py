"""Counts and times every request, and logs it where that is switched on. The outermost middleware."""

from __future__ import annotations

import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import Counter

from server.http.authenticate import GRANT
from server.metrics import Metrics
from server.store import Store


class Observe:
    __middleware_version__ = 1

    def __init__(self, store: Store, metrics: Metrics, *, access_log: bool) -> None:
        self._store = store
        self._metrics = metrics
        self._access_log = access_log
        self._log = structlog.get_logger("access")
        self._series: dict[tuple[str, int], Counter] = {}  # looking one up by labels is slow

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # Only names of routes are labels: a path that is no route must not make a series of its own.
        route = request.match_info.route.name or "none"
        started = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            response = await handler(request)
        finally:
            self._metrics.in_flight.dec()
        seconds = time.perf_counter() - started
        series = self._series.get((route, response.status))
        if series is None:
            series = self._series[route, response.status] = self._metrics.requests.labels(route, str(response.status))
        series.inc()
        self._metrics.request_seconds.observe(route, seconds)
        response.headers["Server"] = "burgee"  # not which versions of what
        if self._store.draining:
            response.force_close()  # so that the caller's next request goes to another server
        if self._access_log:
            grant = request.get(GRANT)
            self._log.info(
                "request",
                method=request.method,
                route=route,
                status=response.status,
                milliseconds=round(seconds * 1000, 3),
                key=grant.selector if grant else None,
            )
        return response
