"""Webhooks as rows: whom a tenant wants told of what.

    await create_webhook(tx, "shop", url="https://ci.example/burgee", secret="…", events=("publish",), by=actor)

The secret signs what is sent, so it is stored as it is. Only the answer that makes it has it; the audit never.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import RowMapping, insert, select, update

from server.record.audit import Actor, note
from server.record.database import Transaction
from server.record.tables import tenants, webhooks


async def webhook_row(tx: Transaction, tenant: str, id: str, *, lock: bool = False) -> RowMapping | None:
    query = select(webhooks).where(webhooks.c.tenant == tenant, webhooks.c.id == id)
    query = query.where(webhooks.c.tenant.in_(select(tenants.c.name).where(tenants.c.deleted_at.is_(None))))
    return (await tx.execute(query.with_for_update() if lock else query)).mappings().one_or_none()


async def webhook_rows(tx: Transaction, tenant: str, *, after: str, limit: int) -> list[RowMapping]:
    query = select(webhooks).where(webhooks.c.tenant == tenant, webhooks.c.id > after)
    return list((await tx.execute(query.order_by(webhooks.c.id).limit(limit))).mappings())


async def create_webhook(
    tx: Transaction, tenant: str, *, url: str, secret: str, events: Sequence[str], by: Actor
) -> str:
    """Its id."""
    id = secrets.token_hex(8)
    row = {"id": id, "tenant": tenant, "url": url, "secret": secret, "created_at": round(time.time(), 3)}
    await tx.execute(insert(webhooks).values(events=msgspec.json.encode(events).decode(), revision=1, **row))
    await note(tx, by, "webhook.create", f"{tenant}/webhooks/{id}", _details(url, events), tenant=tenant)
    return id


async def change_webhook(
    tx: Transaction, tenant: str, id: str, *, url: str, secret: str | None, events: Sequence[str], by: Actor
) -> None:
    """None: the secret stays."""
    values: dict[str, Any] = {"url": url, "events": msgspec.json.encode(events).decode()}
    if secret is not None:
        values["secret"] = secret
    revision = webhooks.c.revision + 1
    await tx.execute(update(webhooks).where(webhooks.c.id == id).values(revision=revision, **values))
    details = _details(url, events) | {"newSecret": secret is not None}
    await note(tx, by, "webhook.update", f"{tenant}/webhooks/{id}", details, tenant=tenant)


async def delete_webhook(tx: Transaction, tenant: str, id: str, *, by: Actor) -> None:
    await tx.execute(webhooks.delete().where(webhooks.c.id == id))
    await note(tx, by, "webhook.delete", f"{tenant}/webhooks/{id}", {}, tenant=tenant)


def _details(url: str, events: Sequence[str]) -> dict[str, Any]:
    """The host alone: what follows it is often a secret."""
    parts = urlsplit(url)
    return {"host": f"{parts.scheme}://{parts.hostname}", "events": events}
