"""Hosts that stay at what they have: all, a tenant, a project or an environment paused, or an environment pinned.

    await set_paused(tx, Scope("shop", "web", "production"), True, by=actor)      versions go on, hosts do not follow
    await set_paused(tx, Scope("shop", "web", "production"), False, by=actor)     hosts are told of the newest
    await pin(tx, environment, 17, by=actor)                                      stays at 17 until `pin(…, None)`

Each gives the projects that hosts are to be told of, for the feed after the commit. What is paused anywhere above stays
paused; what is pinned goes on to its pin. Nothing ever goes back: for that, roll back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, select, true, update

from server.control.publishing.refusals import ConflictError
from server.record.audit import INSTANCE, Actor, note
from server.record.database import Transaction, is_paused, put_value
from server.record.history import environment_row, get_version
from server.record.locks import lock_tree
from server.record.projects import touch
from server.record.tables import canaries, environments, projects, tenants
from server.types import EnvironmentId, ProjectId

Told = list[tuple[ProjectId, int]]


@dataclass(frozen=True, slots=True)
class Scope:
    """From the instance (nothing is named) down to one environment."""

    tenant: str = ""
    project: str = ""
    environment: str = ""

    def __str__(self) -> str:
        return "/".join(each for each in (self.tenant, self.project, self.environment) if each) or "instance"

    @property
    def level(self) -> str:
        if self.environment:
            return "environment"
        return "project" if self.project else "tenant" if self.tenant else "instance"


async def paused_in(tx: Transaction, scope: Scope) -> bool:
    """Itself, whatever is above it. Raises LookupError."""
    if scope.level == "instance":
        return await is_paused(tx)
    table, here = _row_of(scope)
    found: bool | None = await tx.scalar(select(table.c.paused).where(here, table.c.deleted_at.is_(None)))
    if found is None:
        raise LookupError(f"there is no {scope.level} `{scope}`")
    return found


async def set_paused(tx: Transaction, scope: Scope, paused: bool, *, by: Actor, reason: str = "") -> Told:
    """Nothing where it is so already. Raises LookupError."""
    await lock_tree(tx, scope.tenant, scope.project, scope.environment)
    if await paused_in(tx, scope) == paused:
        return []
    if scope.level == "instance":
        await put_value(tx, "paused", paused)
    else:
        table, here = _row_of(scope)
        await tx.execute(update(table).where(here).values(paused=paused, revision=table.c.revision + 1))
    told = [] if paused else await _settle(tx, scope)
    action = f"{scope.level}.{'pause' if paused else 'resume'}"
    await note(tx, by, action, str(scope), {"projects": len(told), "reason": reason}, tenant=scope.tenant or INSTANCE)
    return told


async def pin(tx: Transaction, environment: EnvironmentId, version: int | None, *, by: Actor, reason: str = "") -> Told:
    """None: no pin any more. Raises LookupError, and ConflictError for a version that hosts have left behind."""
    row = await environment_row(tx, environment, lock=True)
    if version is not None:
        if await get_version(tx, environment, version) is None:
            raise LookupError(f"there is no version {version} of `{environment}`")
        if version < row.live_version:
            raise ConflictError(f"hosts are at version {row.live_version}, and never go back (hint: roll back)")
    if version == row.pinned_version:
        return []
    await tx.execute(
        update(environments)
        .where(_in_scope(Scope(*environment)))
        .values(pinned_version=version, revision=environments.c.revision + 1)
    )
    told = await _settle(tx, Scope(*environment))
    action = "environment.unpin" if version is None else "environment.pin"
    await note(tx, by, action, str(environment), {"version": version, "reason": reason}, tenant=environment.tenant)
    return told


async def _settle(tx: Transaction, scope: Scope) -> Told:
    """Every environment that nothing holds goes to where it should be."""
    if await is_paused(tx):
        return []
    rows = await tx.execute(
        select(environments.c.tenant, environments.c.project, environments.c.name)
        .add_columns(environments.c.version, environments.c.live_version, environments.c.pinned_version)
        .add_columns(canaries.c.number)
        .join(projects, and_(projects.c.tenant == environments.c.tenant, projects.c.name == environments.c.project))
        .join(tenants, tenants.c.name == environments.c.tenant)
        .join(
            canaries,
            (canaries.c.tenant == environments.c.tenant)
            & (canaries.c.project == environments.c.project)
            & (canaries.c.environment == environments.c.name),
            isouter=True,
        )
        .where(
            _in_scope(scope),
            environments.c.deleted_at.is_(None),
            projects.c.deleted_at.is_(None),
            tenants.c.deleted_at.is_(None),
            environments.c.paused.is_(False),
            projects.c.paused.is_(False),
            tenants.c.paused.is_(False),
        )
    )
    moved: set[ProjectId] = set()
    for tenant, project, name, version, live, pinned, on_trial in rows.all():
        wanted = version if pinned is None else max(pinned, live)
        if wanted == live or (pinned is None and wanted == on_trial):
            continue  # a canary goes on as one
        here = _in_scope(Scope(tenant, project, name))
        await tx.execute(update(environments).where(here).values(live_version=wanted))
        moved.add(ProjectId(tenant, project))
    return [(project, await touch(tx, project)) for project in sorted(moved)]


def _row_of(scope: Scope) -> tuple[Any, ColumnElement[bool]]:
    if scope.level == "environment":
        return environments, _in_scope(scope)
    if scope.level == "project":
        return projects, (projects.c.tenant == scope.tenant) & (projects.c.name == scope.project)
    return tenants, tenants.c.name == scope.tenant


def _in_scope(scope: Scope) -> ColumnElement[bool]:
    columns = environments.c
    return and_(
        *_named((columns.tenant, scope.tenant), (columns.project, scope.project), (columns.name, scope.environment))
    )


def _named(*pairs: tuple[ColumnElement[str], str]) -> list[ColumnElement[bool]]:
    return [true(), *(column == name for column, name in pairs if name)]
