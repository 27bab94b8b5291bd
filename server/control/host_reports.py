"""`PUT /v1/sync/hosts/{host}`: a host says what all its workers have (docs/sync.md).

add_host_routes(app, hosts, authorise)

204: heard. 409: it says what changed since a report that was not heard here; it is to say everything.
503: so many hosts of that scope, or of that tenant, speak already.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from aiohttp import web

from server.control.hosts import Hosts
from server.http.failures import Refused, failure
from server.sync.messages import HOSTS, HostReport
from server.sync.provide import Authorise
from server.sync.scope import ALL

LARGEST: Final = 16 << 20  # bytes; the application's client_max_size stops a body whose length was not declared
LARGEST_OF_SCOPE: Final = 1 << 20  # of a host with a key of a tenant
_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)

_decode = msgspec.json.Decoder(HostReport).decode


def add_host_routes(app: web.Application, hosts: Hosts, authorise: Authorise) -> None:
    async def report(request: web.Request) -> web.StreamResponse:
        try:
            scope = await authorise(request)
            host = request.match_info["host"]
            if not _NAME.fullmatch(host):
                raise Refused(404, "that is no name of a host")
            largest = LARGEST if scope == ALL else LARGEST_OF_SCOPE
            if (request.content_length or 0) > largest or len(content := await request.read()) > largest:
                raise Refused(413, "a report is not that large")
            try:
                said = _decode(content)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise Refused(400, "the report cannot be read") from None
        except Refused as refused:
            return failure(refused.status, refused.details, headers=refused.headers)
        if not hosts.admits(host, scope):
            return failure(503, "there are too many hosts", headers={"Retry-After": "60"})
        return web.Response(status=204 if hosts.hear(host, said, scope) else 409)

    app.router.add_put(f"{HOSTS}/{{host}}", report, name="sync_host")
