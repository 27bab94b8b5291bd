"""The control plane as an application: every route of the admin API, listed once.

    control_plane(Parts(record, feed, compiler))   ->   aiohttp.web.Application

Routes for hosts are added to it by server/sync/provide.py. Below `/api/v1` there is nothing but what is in the table.
"""

from __future__ import annotations

from aiohttp import web

from server.control.api import (
    audit,
    definitions,
    document,
    drafts,
    environments,
    holding,
    hosts,
    keys,
    openapi,
    projects,
    publishing,
    tenants,
    versions,
    webhooks,
)
from server.control.api.answering import handler_of
from server.control.api.frame import BASE, Route
from server.control.metrics import CountRequests
from server.control.parts import ControlSettings, Parts
from server.control.problems import AnswerProblems
from server.http.body import leave_expectation
from server.http.failures import JSON

__all__ = ["OPENAPI", "ROUTES", "ControlSettings", "Parts", "control_plane"]

OPENAPI = f"{BASE}/openapi.json"  # open to all: it says what this program is, and nothing of what it holds

# From what is above to what is below. Each module of server/control/api/ has its own as ROUTES.
ROUTES: tuple[Route, ...] = (
    *tenants.ROUTES,
    *projects.ROUTES,
    *environments.ROUTES,
    *definitions.ROUTES,
    *document.ROUTES,
    *publishing.ROUTES,
    *drafts.ROUTES,
    *versions.ROUTES,
    *holding.ROUTES,
    *keys.ROUTES,
    *webhooks.ROUTES,
    *audit.ROUTES,
    *hosts.ROUTES,
)


def control_plane(parts: Parts) -> web.Application:
    app = web.Application(
        middlewares=[CountRequests(parts.metrics), AnswerProblems()], client_max_size=parts.settings.max_body_bytes
    )
    for route in ROUTES:
        app.router.add_route(
            route.method,
            BASE + route.path,
            handler_of(route, parts),
            name=route.name,
            expect_handler=leave_expectation,
        )
    described = openapi.rendered(ROUTES)

    async def describe(request: web.Request) -> web.Response:
        return web.Response(body=described, content_type=JSON)

    app.router.add_get(OPENAPI, describe, name="openapi", allow_head=False)
    return app
