"""Who changed what, from the first row on; `after` is the number of a row (server/record/audit.py).

GET /api/v1/tenants/shop/audit?after=41     {"items": [{"number": 42, "action": "key.revoke", …}], "next": null}
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import select

from server.control.api.frame import LARGEST_PAGE, PAGE, Answer, Call, Page, Route, found, page_of
from server.control.api.values import Moment, moment_of
from server.control.roles import Need, Role
from server.record import tables, tenants


class AuditQuery(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=LARGEST_PAGE)] = PAGE
    after: Annotated[int, Meta(ge=0, le=2**53)] = 0


class AuditRow(msgspec.Struct, frozen=True, rename="camel"):
    number: int
    at: Moment
    actor: str  # the selector of an admin key, or a part of the server
    action: str
    target: str
    details: dict[str, Any]
    previous: str  # hash of the row before
    hash: str


async def listed(call: Call[None, AuditQuery]) -> Answer:
    tenant, query, rows = call.path.get("tenant", ""), call.query, tables.audit.c
    async with call.parts.record.look() as tx:
        if tenant:
            found(await tenants.tenant_row(tx, tenant))
        some = select(tables.audit).where(rows.tenant == tenant, rows.number > query.after)
        found_rows = (await tx.execute(some.order_by(rows.number).limit(query.limit + 1))).all()
    items = [
        AuditRow(
            each.number,
            moment_of(each.at),
            each.actor,
            each.action,
            each.target,
            msgspec.json.decode(each.details),
            each.previous,
            each.hash,
        )
        for each in found_rows
    ]
    return Answer(page_of(items, query.limit, lambda each: str(each.number)))


_SEEN = Need(Role.VIEWER)
_INSTANCE = "changes of what belongs to no tenant"

ROUTES = (
    Route("instance_audit", "GET", "/audit", _SEEN, listed, _INSTANCE, answer=Page[AuditRow], query=AuditQuery),
    Route(
        "audit", "GET", "/tenants/{tenant}/audit", _SEEN, listed, "changes in a tenant", answer=Page[AuditRow],
        query=AuditQuery,
    ),
)  # fmt: skip
