"""What a control plane counts of itself, for Prometheus: `/metrics` of its Unix socket and its management port.

metrics = ControlMetrics(registry)
web.Application(middlewares=[CountRequests(metrics), …])      burgee_control_requests_total{route,status}
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry, Counter, Gauge

CALLS = ("told", "failed", "let_go")  # what becomes of a webhook's call


class ControlMetrics:
    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.requests = Counter(
            "burgee_control_requests", "requests that were answered", ["route", "status"], registry=registry
        )
        self.publishes = Counter(
            "burgee_control_publishes", "versions made by requests and by the schedule", ["kind"], registry=registry
        )
        self.webhook_calls = Counter(
            "burgee_control_webhook_calls", "calls of webhooks, once each is done", ["outcome"], registry=registry
        )
        self.restarts = Counter(
            "burgee_control_part_failures",
            "parts of the control plane that failed, and were begun again",
            ["part"],
            registry=registry,
        )
        self.record_up = Gauge(
            "burgee_control_record_up", "1 while the last look at the record reached it", registry=registry
        )
        for outcome in CALLS:
            self.webhook_calls.labels(outcome)


class CountRequests:
    """The outermost middleware. A path that is no route must not make a series of its own: it is `none`."""

    __middleware_version__ = 1

    def __init__(self, metrics: ControlMetrics) -> None:
        self._requests = metrics.requests

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        status = 0  # the caller went away
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            self._requests.labels(request.match_info.route.name or "none", str(status)).inc()
