"""Tenants.

POST /api/v1/tenants {"name": "shop"}     201 {"name": "shop", "title": "", "quotas": {}, …}
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import RowMapping

from server.control.api.frame import BASE, Answer, Call, Page, PageQuery, Route, found, page_of
from server.control.api.values import Moment, Name, Title, checked_name, moment_of, stored_as
from server.control.problems import exists, forbidden
from server.control.roles import Need, Role
from server.quotas import MOST
from server.record import tenants
from server.record.database import Transaction
from server.record.locks import lock_tree
from server.record.tenants import ExistsError

Amount = Annotated[float, Meta(ge=0, le=MOST)]
Count = Annotated[int, Meta(ge=0, le=int(MOST))]


class TenantQuotas(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is left out is as the host says; 0 is no limit."""

    requests_per_second: Amount | UnsetType = UNSET
    evaluations_per_second: Amount | UnsetType = UNSET
    bytes_in_flight: Count | UnsetType = UNSET
    streams: Count | UnsetType = UNSET
    mode: Annotated[str, Meta(pattern="^(enforce|warn)$", max_length=7)] | UnsetType = UNSET


class NewTenant(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    name: Name
    title: Title = ""
    quotas: TenantQuotas = TenantQuotas()


class TenantChange(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is left out stays; quotas are replaced as a whole."""

    title: Title | UnsetType = UNSET
    quotas: TenantQuotas | UnsetType = UNSET


class Tenant(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    title: str
    quotas: TenantQuotas
    paused: bool
    revision: int
    created_at: Moment


def _tenant(row: RowMapping) -> Tenant:
    quotas = stored_as(TenantQuotas, row["quotas"])
    return Tenant(row["name"], row["title"], quotas, row["paused"], row["revision"], moment_of(row["created_at"]))


async def _answer(tx: Transaction, name: str, status: int = 200) -> Answer:
    tenant = _tenant(found(await tenants.tenant_row(tx, name)))
    return Answer(tenant, status, etag=tenant.revision)


async def listed(call: Call[None, PageQuery]) -> Answer:
    """Those that the key reaches, or a part of which it reaches."""
    async with call.parts.record.look() as tx:
        only, query = call.principal.tenant, call.query
        rows = await tenants.tenant_rows(tx, after=query.after, limit=query.limit + 1, only=only)
    return Answer(page_of([_tenant(each) for each in rows], query.limit, lambda each: each.name))


async def create(call: Call[NewTenant, None]) -> Answer:
    name = checked_name(call.body.name)
    quotas = msgspec.to_builtins(call.body.quotas)

    async def work(tx: Transaction) -> Answer:
        try:
            await tenants.create_tenant(tx, name, title=call.body.title, quotas=quotas, by=call.actor)
        except ExistsError:
            raise exists("tenant", name) from None
        answer = await _answer(tx, name, 201)
        return answer.at(f"{BASE}/tenants/{name}")

    return await call.change(work)


async def get(call: Call[None, None]) -> Answer:
    async with call.parts.record.look() as tx:
        return await _answer(tx, call.path["tenant"])


async def change(call: Call[TenantChange, None]) -> Answer:
    name, body = call.path["tenant"], call.body
    title = None if body.title is UNSET else body.title
    quotas = None if body.quotas is UNSET else msgspec.to_builtins(body.quotas)
    if quotas is not None and not call.principal.reaches():
        raise forbidden("quotas are set by keys of the instance")

    async def work(tx: Transaction) -> Answer:
        row = found(await tenants.tenant_row(tx, name, lock=True))
        call.require_match(row["revision"], _tenant(row))
        await tenants.change_tenant(tx, name, title=title, quotas=quotas, by=call.actor)
        return await _answer(tx, name)

    return await call.change(work)


async def remove(call: Call[None, None]) -> Answer:
    name = call.path["tenant"]

    async def work(tx: Transaction) -> Answer:
        await lock_tree(tx, name)
        row = found(await tenants.tenant_row(tx, name, lock=True))
        call.require_match(row["revision"], _tenant(row))
        call.tell_all(await tenants.delete_tenant(tx, name, by=call.actor))
        return Answer(status=204)

    return await call.change(work)


_ALL, _ONE = "/tenants", "/tenants/{tenant}"
_SEEN = Need(Role.VIEWER, in_part=True)

ROUTES = (
    Route("tenants_list", "GET", _ALL, _SEEN, listed, "tenants", answer=Page[Tenant], query=PageQuery),
    Route(
        "tenant_create", "POST", _ALL, Need(Role.OWNER), create, "make a tenant", answer=Tenant, status=201,
        statuses=(409,), body=NewTenant,
    ),
    Route("tenant_get", "GET", _ONE, Need(Role.VIEWER), get, "one tenant", answer=Tenant),
    Route(
        "tenant_change", "PATCH", _ONE, Need(Role.OWNER), change, "change its title or quotas", answer=Tenant,
        body=TenantChange, conditional=True,
    ),
    Route(
        "tenant_delete", "DELETE", _ONE, Need(Role.OWNER), remove,
        "delete it with all below it; hosts stop serving it", status=204, conditional=True,
    ),
)  # fmt: skip
