"""Does the history fit together? Each row of an audit chain is hashed with the one before it (server/record/audit.py).

    await verify(record)  ->  (Chain("shop", rows=17, head="9c1f…"), Chain("bank", rows=2, …, broken=Break(3, "…")))

A row that was edited, deleted, added or moved breaks its chain at the first number that does not fit. Whoever can write
to the database can also write a whole new chain; a head that was noted elsewhere shows that too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Row, func, select, union

from server.record.audit import INSTANCE, hash_of
from server.record.database import Record, Transaction
from server.record.schema import require_schema
from server.record.tables import audit, instance, tenants

_PAGE: Final = 1000  # rows read at once

Progress = Callable[[int, int], None]  # rows looked at, of how many


@dataclass(frozen=True, slots=True)
class Break:
    number: int  # of the first row that does not fit
    message: str


@dataclass(frozen=True, slots=True)
class Chain:
    tenant: str  # empty: of what belongs to none
    rows: int
    head: str  # the hash of its last row
    broken: Break | None = None


async def verify(
    record: Record, tenant: str | None = None, progress: Progress = lambda done, total: None
) -> tuple[Chain, ...]:
    """Every chain, or that of one tenant. Raises LookupError where there is no such tenant."""
    async with record.look() as tx:
        await require_schema(tx)
        names = await _names(tx) if tenant is None else [tenant]
        if tenant and tenant not in await _names(tx):
            raise LookupError(f"there is no tenant `{tenant}`")
        total = await tx.scalar(select(func.count()).where(audit.c.tenant.in_(names))) or 0
        done, chains = 0, []
        for name in names:
            chains.append(await _walk(tx, name, functools.partial(_add, progress, done, total)))
            done += chains[-1].rows
        return tuple(chains)


def _add(progress: Progress, before: int, total: int, rows: int) -> None:
    progress(before + rows, total)


async def _names(tx: Transaction) -> list[str]:
    return sorted((await tx.scalars(union(select(tenants.c.name), select(audit.c.tenant).distinct()))).all())


async def _walk(tx: Transaction, tenant: str, progress: Callable[[int], None]) -> Chain:
    number, head = 0, ""
    while True:
        page = select(audit).where(audit.c.tenant == tenant, audit.c.number > number).order_by(audit.c.number)
        rows = (await tx.execute(page.limit(_PAGE))).all()
        for row in rows:
            if why := _misfit(row, number + 1, head):
                return Chain(tenant, number, head, Break(number + 1, why))
            number, head = row.number, row.hash
        progress(number)
        if len(rows) < _PAGE:
            break
    noted, noted_head = await _head_of(tx, tenant)
    if noted > number:
        return Chain(tenant, number, head, Break(number + 1, f"it is missing: there were {noted}"))
    if (noted, noted_head) != (number, head):
        why = (
            "it was added, or the note of the last row was changed"
            if noted < number
            else "the note of it has another hash"
        )
        return Chain(tenant, number, head, Break(min(noted + 1, number), why))
    return Chain(tenant, number, head)


def _misfit(row: Row[tuple[object, ...]], number: int, head: str) -> str:
    if row.number != number:
        return f"it is missing: the next one is {row.number}"
    if row.previous != head:
        return "it does not follow the row before it: one of the two was changed, moved or put in its place"
    if row.hash != hash_of(head, row.tenant, row.number, row.at, row.actor, row.action, row.target, row.details):
        return "it was changed"
    return ""


async def _head_of(tx: Transaction, tenant: str) -> tuple[int, str]:
    """As whoever added the last row noted it."""
    if tenant == INSTANCE:
        found = await tx.scalar(select(instance.c.value).where(instance.c.name == "audit"))
        number, head = msgspec.json.decode(found) if found else (0, "")
        return number, head
    row = (
        await tx.execute(select(tenants.c.audit_number, tenants.c.audit_head).where(tenants.c.name == tenant))
    ).one_or_none()
    return (row.audit_number, row.audit_head) if row else (0, "")
