"""Requests a second of one tenant, over all workers: a flood gets 429 before its bodies are read.

A bucket holds one second's worth of requests, so a burst of that size passes; then they pass at the rate. It lies in
the shared page.
"""

from __future__ import annotations

import math

from aiohttp import web
from aiohttp.typedefs import Handler

from server.http.authenticate import GRANT
from server.http.failures import Refused
from server.shared.page import Page


class LimitRate:
    __middleware_version__ = 1

    def __init__(self, page: Page, rate: float) -> None:
        """`rate` in requests a second for each tenant."""
        self._page = page
        self._rate = rate

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        grant = request.get(GRANT)
        if grant is not None:
            cell = self._page.cell(grant.project.tenant)
            if wait := cell.take_request(self._rate, max(self._rate, 1.0)):
                raise Refused(429, "too many requests", headers={"Retry-After": str(math.ceil(wait))})
        return await handler(request)
