"""Versions of an environment as they lie in the record: who, when, why, and of what; and the environment's own row.

await list_versions(tx, EnvironmentId("shop", "web", "production"))  ->  [Version(number=18, …), Version(number=17, …)]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, select

from server.record.database import Transaction
from server.record.environments import find_environment
from server.record.tables import versions
from server.types import EnvironmentId


@dataclass(frozen=True, slots=True)
class Version:
    number: int
    kind: str
    origin: str
    document: str  # digests
    snapshot: str
    size: int  # bytes of the snapshot
    flags: int
    draft: str
    message: str
    created_at: float
    created_by: str


@dataclass(frozen=True, slots=True)
class EnvironmentRow:
    version: int  # the newest; 0: none
    live_version: int
    paused: bool
    pinned_version: int | None
    settings: dict[str, Any]


async def environment_row(tx: Transaction, environment: EnvironmentId, *, lock: bool = False) -> EnvironmentRow:
    """Raises LookupError where it, or something above it, is not there or deleted."""
    row = await find_environment(tx, environment, lock=lock)
    if row is None:
        raise LookupError(f"there is no environment `{environment}`")
    return EnvironmentRow(
        row["version"],
        row["live_version"],
        row["paused"],
        row["pinned_version"],
        msgspec.json.decode(row["settings"]),
    )


async def get_version(tx: Transaction, environment: EnvironmentId, number: int) -> Version | None:
    row = (await tx.execute(select(versions).where(_of(environment), versions.c.number == number))).one_or_none()
    return _version(row) if row is not None else None


async def list_versions(
    tx: Transaction, environment: EnvironmentId, *, below: int | None = None, limit: int = 100
) -> list[Version]:
    """The newest first."""
    query = select(versions).where(_of(environment))
    if below is not None:
        query = query.where(versions.c.number < below)
    rows = await tx.execute(query.order_by(versions.c.number.desc()).limit(limit))
    return [_version(row) for row in rows]


async def version_before(tx: Transaction, environment: EnvironmentId, moment: float) -> Version | None:
    """The newest one that was there at that moment, in seconds since the epoch."""
    query = select(versions).where(_of(environment), versions.c.created_at <= moment)
    row = (await tx.execute(query.order_by(versions.c.number.desc()).limit(1))).one_or_none()
    return _version(row) if row is not None else None


def _of(environment: EnvironmentId) -> ColumnElement[bool]:
    return (
        (versions.c.tenant == environment.tenant)
        & (versions.c.project == environment.project)
        & (versions.c.environment == environment.environment)
    )


def _version(row: Row[Any]) -> Version:
    return Version(
        number=row.number,
        kind=row.kind,
        origin=row.origin,
        document=row.document,
        snapshot=row.snapshot,
        size=row.size,
        flags=row.flags,
        draft=row.draft,
        message=row.message,
        created_at=row.created_at,
        created_by=row.created_by,
    )
