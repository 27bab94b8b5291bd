"""Limits for what aiohttp answers, as the front has them: 429 over a quota, 503 while there is too much to do.

Both before the body is read. Evaluations are paid for afterwards: nobody knows before how many there will be.
"""

from __future__ import annotations

import time

from aiohttp import web
from aiohttp.typedefs import Handler

from server.front.admission import OVERLOADED, TEXTS, Admission, Tenant
from server.http.authenticate import GRANT, route_of
from server.http.environment import ASKED
from server.http.failures import Refused
from server.shared.page import Block

COST = 100_000  # nanoseconds that a request takes here, about: enough to be worth shedding


class Admit:
    __middleware_version__ = 1

    def __init__(self, admission: Admission, block: Block, max_body: int) -> None:
        self._admission = admission
        self._block = block
        self._max_body = max_body

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        grant = request.get(GRANT)
        if grant is None:
            return await handler(request)
        tenant = self._admission.tenant(grant.project.tenant)
        body = self._expected(request)
        self._refuse(request, tenant, body)
        self._admission.hold(tenant, body)
        try:
            response = await handler(request)
        finally:
            self._admission.hold(tenant, -body)
        asked = request.get(ASKED)
        if asked is not None:  # no other request has run since
            now = time.monotonic_ns()
            self._admission.charge(tenant, asked.evaluations, now)
            self._admission.took(tenant, now - asked.at)
        return response

    def _refuse(self, request: web.Request, tenant: Tenant, body: int) -> None:
        self._admission.arrived()
        now = time.monotonic_ns()
        if refused := self._admission.refused(tenant, body, now):
            limit, seconds = refused
            raise Refused(429, TEXTS[limit], headers={"Retry-After": str(seconds)})
        if self._admission.sheds(tenant, COST, now):
            self._block.shed(route_of(request))
            raise Refused(503, OVERLOADED, headers={"Retry-After": str(self._admission.retry_after())})

    def _expected(self, request: web.Request) -> int:
        """Bytes of a body that is not all here; one that does not say its length may be as large as any."""
        if request.content.is_eof():
            return 0
        length = request.content_length
        return self._max_body if length is None else min(length, self._max_body)
