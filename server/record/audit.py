"""Who changed what: a row for each change, written with it, chained by hashes so that nobody edits history unseen.

    hash = SHA-256(hash of the row before + canonical JSON of [tenant, number, at, actor, action, target, details])

The tenant's row holds the number and hash of the last one and is locked by whoever adds to it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from server.record.database import Transaction, put_value
from server.record.tables import audit, instance, tenants

INSTANCE = ""  # the tenant of what belongs to none


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something: an admin key by its selector, or a part of the server by its name."""

    name: str


SYSTEM = Actor("system")


async def note(
    tx: Transaction, actor: Actor, action: str, target: str, details: Mapping[str, Any], *, tenant: str
) -> None:
    """In the transaction of the change itself. `details` never hold secrets."""
    number, previous = await lock_head(tx, tenant)
    number, at = number + 1, round(time.time(), 3)
    written = canonical(details).decode()
    found = hash_of(previous, tenant, number, at, actor.name, action, target, written)
    await tx.execute(
        insert(audit).values(
            tenant=tenant,
            number=number,
            at=at,
            actor=actor.name,
            action=action,
            target=target,
            details=written,
            previous=previous,
            hash=found,
        )
    )
    if tenant == INSTANCE:
        await put_value(tx, "audit", [number, found])
    else:
        head = {"audit_number": number, "audit_head": found}
        await tx.execute(update(tenants).where(tenants.c.name == tenant).values(**head))


def hash_of(
    previous: str, tenant: str, number: int, at: float, actor: str, action: str, target: str, details: str
) -> str:
    row = canonical([tenant, number, at, actor, action, target, details])
    return hashlib.sha256(previous.encode() + row).hexdigest()


def canonical(value: Any) -> bytes:
    """JSON that is the same for the same value."""
    return msgspec.json.encode(value, order="deterministic")


async def lock_head(tx: Transaction, tenant: str) -> tuple[int, str]:
    """Its number and hash, for nobody else to change until the transaction ends: the last lock of any.

    The lock of a row that others refer to: their own rows do not wait for it, nor it for them.
    """
    if tenant == INSTANCE:
        make = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
        await tx.execute(make(instance).values(name="audit", value='[0,""]').on_conflict_do_nothing())
        query = select(instance.c.value).where(instance.c.name == "audit").with_for_update(key_share=True)
        number, head = msgspec.json.decode(await tx.scalar(query) or "")
        return number, head
    row = (
        await tx.execute(
            select(tenants.c.audit_number, tenants.c.audit_head)
            .where(tenants.c.name == tenant)
            .with_for_update(key_share=True)  # rows that name the tenant may be added meanwhile
        )
    ).one()
    return row.audit_number, row.audit_head
