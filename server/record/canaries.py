"""Versions that some workers of each host answer from before the others (docs/adr/0017-canary.md), as rows.

    plan_of({"canaryShare": 0.25, "canarySeconds": 300})            Plan(share=0.25, seconds=300.0)
    await begin_canary(tx, environment, 18, plan)                   the row of version 18; live stays 17
    await promote_canary(tx, environment, 18, by)                   live is 18, and the row is gone

A row counts only while its number is above what is live: whoever makes another version live has ended it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, insert, select, update

from server.record.audit import Actor, note
from server.record.database import Transaction
from server.record.tables import canaries, environments, versions
from server.state.records import Canary, Published
from server.types import EnvironmentId, ProjectId

SECONDS: Final = 60.0  # until a canary without complaint is promoted, where nothing else is said


@dataclass(frozen=True, slots=True)
class Plan:
    """How a version is to be tried."""

    share: float  # of the workers of each host, above 0 and below 1
    seconds: float = SECONDS


@dataclass(frozen=True, slots=True)
class Running:
    """A canary, and what is live beside it."""

    environment: EnvironmentId
    number: int
    live: int
    share: float
    seconds: float
    since: float


def plan_of(settings: Mapping[str, Any]) -> Plan | None:
    """What an environment's settings say of canaries; None: publish to all at once.

    >>> plan_of({"canaryShare": 0.25}), plan_of({})
    (Plan(share=0.25, seconds=60.0), None)
    """
    share = float(settings.get("canaryShare") or 0)
    return Plan(share, float(settings.get("canarySeconds") or SECONDS)) if 0 < share < 1 else None


async def begin_canary(tx: Transaction, environment: EnvironmentId, number: int, plan: Plan) -> bool:
    """In place of one that runs. False where nothing is live yet: then there is nothing to compare it with."""
    if not await tx.scalar(select(environments.c.live_version).where(_is(environments, environment))):
        return False
    await end_canary(tx, environment)
    row = {"number": number, "share": plan.share, "seconds": plan.seconds, "since": round(time.time(), 3)}
    await tx.execute(insert(canaries).values(**_names(environment), **row))
    return True


async def end_canary(tx: Transaction, environment: EnvironmentId) -> None:
    await tx.execute(delete(canaries).where(_is(canaries, environment)))


async def promote_canary(tx: Transaction, environment: EnvironmentId, number: int, by: Actor) -> bool:
    """For all workers from now on; the caller touches the project. False: somebody else has decided meanwhile."""
    here = _is(environments, environment)
    await tx.execute(
        select(environments.c.name).where(here).with_for_update(key_share=True)
    )  # as publishing does, first
    gone = await tx.execute(delete(canaries).where(_is(canaries, environment), canaries.c.number == number))
    if gone.rowcount != 1:
        return False
    changed = await tx.execute(
        update(environments).where(here, environments.c.live_version < number).values(live_version=number)
    )
    if changed.rowcount != 1:
        return False
    await note(tx, by, "canary.promote", str(environment), {"version": number}, tenant=environment.tenant)
    return True


async def live_beside(tx: Transaction, environment: EnvironmentId) -> int | None:
    """The live version, where the newest is a canary that runs; else None."""
    row = (
        await tx.execute(
            select(environments.c.live_version, canaries.c.number)
            .join(canaries, canaries.c.number == environments.c.version)
            .where(_is(environments, environment), _is(canaries, environment))
        )
    ).one_or_none()
    return row.live_version if row is not None and row.live_version < row.number else None


async def all_running(tx: Transaction) -> list[Running]:
    """Held environments' too."""
    rows = await tx.execute(
        select(canaries, environments.c.live_version)
        .join(
            environments,
            (environments.c.tenant == canaries.c.tenant)
            & (environments.c.project == canaries.c.project)
            & (environments.c.name == canaries.c.environment),
        )
        .where(environments.c.deleted_at.is_(None), environments.c.live_version < canaries.c.number)
    )
    return [
        Running(
            EnvironmentId(row.tenant, row.project, row.environment),
            row.number,
            row.live_version,
            row.share,
            row.seconds,
            row.since,
        )
        for row in rows
    ]


async def running_canaries(tx: Transaction, project: ProjectId, live: tuple[Published, ...]) -> tuple[Canary, ...]:
    """As hosts are told of them, beside what is `live`."""
    rows = await tx.execute(
        select(canaries.c.share, canaries.c.since, versions)
        .join(
            versions,
            (versions.c.tenant == canaries.c.tenant)
            & (versions.c.project == canaries.c.project)
            & (versions.c.environment == canaries.c.environment)
            & (versions.c.number == canaries.c.number),
        )
        .where(canaries.c.tenant == project.tenant, canaries.c.project == project.project)
        .order_by(canaries.c.environment)
    )
    lives = {each.name: each.version for each in live}
    return tuple(
        Canary(
            Published(row.environment, row.number, row.snapshot, row.size, row.flags, row.created_at),
            row.share,
            row.since,
        )
        for row in rows
        if row.environment in lives and row.number > lives[row.environment]
    )


def _names(environment: EnvironmentId) -> dict[str, str]:
    return {"tenant": environment.tenant, "project": environment.project, "environment": environment.environment}


def _is(table: Any, environment: EnvironmentId) -> ColumnElement[bool]:
    name = table.c.name if table is environments else table.c.environment
    found: ColumnElement[bool] = (
        (table.c.tenant == environment.tenant)
        & (table.c.project == environment.project)
        & (name == environment.environment)
    )
    return found
