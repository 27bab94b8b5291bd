"""Drafts: a document that stands still for one environment, until it is published, withdrawn or overtaken.

    open ──> scheduled ──> published
      │          │    └──> superseded, failed
      └──────────┴───────> withdrawn

A change of state names the state it leaves, so of two control planes that publish what is due, one does.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Row, func, insert, select, update

from server.record.audit import Actor
from server.record.database import Transaction
from server.record.tables import drafts
from server.record.versions import StaleError
from server.types import EnvironmentId

OPEN: Final = "open"
SCHEDULED: Final = "scheduled"
PUBLISHED: Final = "published"
WITHDRAWN: Final = "withdrawn"
SUPERSEDED: Final = "superseded"
FAILED: Final = "failed"
WAITING: Final = (OPEN, SCHEDULED)  # for something to be done with them


class Approval(msgspec.Struct, frozen=True):
    by: str
    at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Draft:
    id: str
    environment: EnvironmentId
    state: str
    revision: int
    kind: str  # of the version that it becomes
    origin: str
    document: str  # digest
    base: int  # the environment's version that it was made against
    message: str
    approvals: tuple[Approval, ...]
    report: bytes  # JSON: diagnostics, diff, impact
    publish_at: float | None
    created_at: float
    created_by: str


async def insert_draft(
    tx: Transaction,
    environment: EnvironmentId,
    *,
    kind: str,
    origin: str,
    document: str,
    base: int,
    message: str,
    report: bytes,
    by: Actor,
) -> Draft:
    draft = Draft(
        id=f"d_{secrets.token_hex(12)}",
        environment=environment,
        state=OPEN,
        revision=1,
        kind=kind,
        origin=origin,
        document=document,
        base=base,
        message=message,
        approvals=(),
        report=report,
        publish_at=None,
        created_at=round(time.time(), 3),
        created_by=by.name,
    )
    await tx.execute(
        insert(drafts).values(
            id=draft.id,
            tenant=environment.tenant,
            project=environment.project,
            environment=environment.environment,
            state=draft.state,
            revision=draft.revision,
            kind=kind,
            origin=origin,
            document=document,
            base=base,
            message=message,
            report=report.decode(),
            created_at=draft.created_at,
            created_by=by.name,
        )
    )
    return draft


async def get_draft(tx: Transaction, environment: EnvironmentId, draft: str, *, lock: bool = False) -> Draft | None:
    query = select(drafts).where(_of(environment), drafts.c.id == draft)
    row = (await tx.execute(query.with_for_update() if lock else query)).one_or_none()
    return _draft(row) if row is not None else None


async def list_drafts(
    tx: Transaction, environment: EnvironmentId, *, states: Sequence[str] = (), after: str = "", limit: int = 100
) -> list[Draft]:
    """The newest first, without their reports; `after`: the id of the last one of the page before."""
    query = select(*(each for each in drafts.c if each.name != "report")).where(_of(environment))
    if states:
        query = query.where(drafts.c.state.in_(states))
    last = await get_draft(tx, environment, after) if after else None
    if last is not None:
        older = drafts.c.created_at < last.created_at
        query = query.where(older | ((drafts.c.created_at == last.created_at) & (drafts.c.id < last.id)))
    rows = await tx.execute(query.order_by(drafts.c.created_at.desc(), drafts.c.id.desc()).limit(limit))
    return [_draft(row, b"{}") for row in rows]


async def count_drafts(tx: Transaction, environment: EnvironmentId, states: Sequence[str]) -> int:
    here = _of(environment) & drafts.c.state.in_(states)
    count: int = await tx.scalar(select(func.count()).select_from(drafts).where(here)) or 0
    return count


async def due_drafts(tx: Transaction, now: float, limit: int = 100) -> list[Draft]:
    """Scheduled ones whose moment has come, the earliest first."""
    rows = await tx.execute(
        select(drafts)
        .where(drafts.c.state == SCHEDULED, drafts.c.publish_at <= now)
        .order_by(drafts.c.publish_at, drafts.c.id)
        .limit(limit)
    )
    return [_draft(row) for row in rows]


async def change_draft(
    tx: Transaction,
    draft: Draft,
    *,
    state: str | None = None,
    approvals: tuple[Approval, ...] | None = None,
    publish_at: float | None = None,
    report: bytes | None = None,
) -> None:
    """Only where it is as it was read: raises StaleError with its revision otherwise."""
    values: dict[str, Any] = {"revision": draft.revision + 1, "publish_at": publish_at}
    if state is not None:
        values["state"] = state
    if approvals is not None:
        values["approvals"] = msgspec.json.encode(approvals).decode()
    if report is not None:
        values["report"] = report.decode()
    here = drafts.c.id == draft.id
    changed = await tx.execute(
        update(drafts).where(here, drafts.c.revision == draft.revision, drafts.c.state == draft.state).values(**values)
    )
    if changed.rowcount != 1:
        raise StaleError(await tx.scalar(select(drafts.c.revision).where(here)) or 0)


def _of(environment: EnvironmentId) -> ColumnElement[bool]:
    return (
        (drafts.c.tenant == environment.tenant)
        & (drafts.c.project == environment.project)
        & (drafts.c.environment == environment.environment)
    )


_approvals = msgspec.json.Decoder(tuple[Approval, ...]).decode


def _draft(row: Row[Any], report: bytes | None = None) -> Draft:
    return Draft(
        id=row.id,
        environment=EnvironmentId(row.tenant, row.project, row.environment),
        state=row.state,
        revision=row.revision,
        kind=row.kind,
        origin=row.origin,
        document=row.document,
        base=row.base,
        message=row.message,
        approvals=_approvals(row.approvals),
        report=row.report.encode() if report is None else report,
        publish_at=row.publish_at,
        created_at=row.created_at,
        created_by=row.created_by,
    )
