"""Keys as rows: what each opens, never the key itself.

    await add_key(tx, NewKey(selector, digest, KeyKind.SERVER, "shop", "web", ("production",)), by=actor)
    await revoke_key(tx, row, by=actor)

Hosts know the keys of one project; those of a tenant or of the instance are known to control planes only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import RowMapping, insert, or_, select, update

from server.record.audit import INSTANCE, Actor, lock_head, note
from server.record.database import Transaction
from server.record.projects import SUBJECT_TO_PROJECTS, touch
from server.record.tables import keys
from server.types import KeyKind, ProjectId


class KeyExistsError(Exception):
    """There is a key with that selector or digest already."""


@dataclass(frozen=True, slots=True)
class NewKey:
    selector: str
    digest: str  # hexadecimal
    kind: KeyKind
    tenant: str = ""  # empty: the instance
    project: str = ""  # empty: the tenant
    environments: tuple[str, ...] = ()  # empty: every one
    role: str = ""  # of admin keys
    name: str = ""
    expires_at: float | None = None


def now() -> float:
    return round(time.time(), 3)


async def key_row(tx: Transaction, selector: str, *, lock: bool = False) -> RowMapping | None:
    query = select(keys).where(keys.c.selector == selector)
    return (await tx.execute(query.with_for_update() if lock else query)).mappings().one_or_none()


async def key_rows(tx: Transaction, tenant: str, *, project: str = "", after: str, limit: int) -> list[RowMapping]:
    """Of a tenant, or of one of its projects; of the instance itself for the empty name."""
    query = select(keys).where(keys.c.tenant == tenant, keys.c.selector > after)
    if project:
        query = query.where(keys.c.project == project)
    return list((await tx.execute(query.order_by(keys.c.selector).limit(limit))).mappings())


async def any_admin_key(tx: Transaction) -> bool:
    """Revoked ones count: an instance whose owners were all revoked is not a new one."""
    found = await tx.scalar(select(keys.c.selector).where(keys.c.kind == str(KeyKind.ADMIN)).limit(1))
    return found is not None


async def add_key(tx: Transaction, key: NewKey, *, by: Actor) -> int | None:
    """The project's number where its hosts are to know. Raises KeyExistsError."""
    same = or_(keys.c.selector == key.selector, keys.c.digest == key.digest)
    if await tx.scalar(select(keys.c.selector).where(same)) is not None:
        raise KeyExistsError
    await tx.execute(
        insert(keys).values(
            selector=key.selector,
            digest=key.digest,
            kind=str(key.kind),
            tenant=key.tenant,
            project=key.project,
            environments=msgspec.json.encode(key.environments).decode(),
            role=key.role,
            name=key.name,
            revision=1,
            created_at=now(),
            created_by=by.name,
            expires_at=key.expires_at,
        )
    )
    number = await _touch(tx, key.kind, key.tenant, key.project)
    details: dict[str, Any] = {"kind": key.kind, "project": key.project, "environments": key.environments}
    details |= {"role": key.role, "name": key.name, "expiresAt": key.expires_at}
    await note(tx, by, "key.create", key.selector, details, tenant=key.tenant)
    return number


async def change_key(tx: Transaction, key: RowMapping, values: Mapping[str, Any], *, by: Actor) -> int | None:
    """Its name, and when it expires. As `add_key`."""
    await _update(tx, key["selector"], **values)
    number = await _touch(tx, KeyKind(key["kind"]), key["tenant"], key["project"])
    await note(tx, by, "key.update", key["selector"], values, tenant=key["tenant"])
    return number


async def other_owners(tx: Transaction, selector: str, *, until: float = 0.0) -> bool:
    """Is there another owner of the instance that is good now, and still is at that moment?

    The audit of the instance stays locked: two that revoke each other do not both find the other.
    """
    await lock_head(tx, INSTANCE)
    live = or_(keys.c.expires_at.is_(None), keys.c.expires_at > max(until, time.time())) & keys.c.revoked_at.is_(None)
    owner = (keys.c.role == "owner") & (keys.c.tenant == "") & (keys.c.project == "")
    return await tx.scalar(select(keys.c.selector).where(owner, live, keys.c.selector != selector).limit(1)) is not None


async def revoke_key(tx: Transaction, key: RowMapping, *, by: Actor) -> int | None:
    """As `add_key`. For good."""
    await _update(tx, key["selector"], revoked_at=now())
    number = await _touch(tx, KeyKind(key["kind"]), key["tenant"], key["project"])
    await note(tx, by, "key.revoke", key["selector"], {"kind": key["kind"]}, tenant=key["tenant"])
    return number


async def revoke_keys(tx: Transaction, tenant: str, project: str = "") -> None:
    """All of a tenant or a project that goes: they do not open the next of that name. The caller tells hosts."""
    mine = (keys.c.tenant == tenant) & keys.c.revoked_at.is_(None)
    if project:
        mine = mine & (keys.c.project == project)
    await tx.execute(update(keys).where(mine).values(revoked_at=now(), revision=keys.c.revision + 1))


async def _touch(tx: Transaction, kind: KeyKind, tenant: str, project: str) -> int | None:
    return await touch(tx, ProjectId(tenant, project)) if project and kind in SUBJECT_TO_PROJECTS else None


async def _update(tx: Transaction, selector: str, **values: Any) -> None:
    await tx.execute(update(keys).where(keys.c.selector == selector).values(revision=keys.c.revision + 1, **values))
