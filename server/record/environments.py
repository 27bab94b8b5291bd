"""Environments as rows: what is published goes there, and how is in their settings.

    await create_environment(tx, EnvironmentId("shop", "web", "staging"), settings={"approvals": 1}, by=actor)

One that is made again under the same name goes on with its versions, but nothing of it is live until the next publish.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import RowMapping, and_, func, insert, select, update

from server.record.audit import Actor, note
from server.record.database import Transaction
from server.record.projects import touch
from server.record.tables import canaries, drafts, environments, projects, tenants
from server.types import EnvironmentId, ProjectId


class EnvironmentExistsError(Exception):
    """There is one of that name already."""


async def find_environment(tx: Transaction, environment: EnvironmentId, *, lock: bool = False) -> RowMapping | None:
    """None also where its project or tenant is gone. `lock`: before the project and the tenant, everywhere."""
    query = (
        select(environments)
        .join(projects, (projects.c.tenant == environments.c.tenant) & (projects.c.name == environments.c.project))
        .join(tenants, tenants.c.name == environments.c.tenant)
        .where(
            _is(environment),
            environments.c.deleted_at.is_(None),
            projects.c.deleted_at.is_(None),
            tenants.c.deleted_at.is_(None),
        )
    )
    if lock:
        query = query.with_for_update(key_share=True, of=environments)
    return (await tx.execute(query)).mappings().one_or_none()


async def environment_rows(tx: Transaction, project: ProjectId, *, after: str, limit: int) -> list[RowMapping]:
    query = select(environments).where(_of(project), environments.c.name > after, environments.c.deleted_at.is_(None))
    return list((await tx.execute(query.order_by(environments.c.name).limit(limit))).mappings())


async def create_environment(
    tx: Transaction, environment: EnvironmentId, *, settings: Mapping[str, Any], by: Actor
) -> int:
    """The project's number. Raises EnvironmentExistsError. The caller has locked the project's row."""
    there = await tx.scalar(select(environments.c.deleted_at.is_(None)).where(_is(environment)))
    last = await tx.scalar(select(func.max(environments.c.place)).where(_of(environment.project_id)))
    values = {"settings": _json(settings), "created_at": _now(), "place": 0 if last is None else last + 1}
    if there is None:
        names = {"tenant": environment.tenant, "project": environment.project, "name": environment.environment}
        await tx.execute(insert(environments).values(revision=1, **names, **values))
    elif there:
        raise EnvironmentExistsError
    else:
        await _update(tx, environment, deleted_at=None, **values)
    number = await touch(tx, environment.project_id)
    details = {"settings": settings}
    await note(tx, by, "environment.create", str(environment), details, tenant=environment.tenant)
    return number


async def change_environment(
    tx: Transaction, environment: EnvironmentId, *, settings: Mapping[str, Any], hosts: bool, by: Actor
) -> int | None:
    """The project's number where `hosts` are to know."""
    await _update(tx, environment, settings=_json(settings))
    number = await touch(tx, environment.project_id) if hosts else None
    details = {"settings": settings}
    await note(tx, by, "environment.update", str(environment), details, tenant=environment.tenant)
    return number


async def delete_environment(tx: Transaction, environment: EnvironmentId, *, by: Actor) -> int:
    await withdraw_environments(tx, environment.project_id, environment.environment)
    number = await touch(tx, environment.project_id)
    await note(tx, by, "environment.delete", str(environment), {}, tenant=environment.tenant)
    return number


async def withdraw_environments(tx: Transaction, project: ProjectId, name: str = "") -> None:
    """One, or all of a project: nothing is live, nothing waits to be. Hosts are told by whoever calls."""
    here = _of(project) & environments.c.deleted_at.is_(None)
    waiting = and_(drafts.c.tenant == project.tenant, drafts.c.project == project.project)
    running = and_(canaries.c.tenant == project.tenant, canaries.c.project == project.project)
    if name:
        here, waiting = here & (environments.c.name == name), waiting & (drafts.c.environment == name)
        running = running & (canaries.c.environment == name)
    revision = environments.c.revision + 1
    gone = {"deleted_at": _now(), "live_version": 0, "paused": False, "pinned_version": None, "revision": revision}
    await tx.execute(update(environments).where(here).values(**gone))
    waits = waiting & drafts.c.state.in_(("open", "scheduled"))
    await tx.execute(update(drafts).where(waits).values(state="withdrawn", revision=drafts.c.revision + 1))
    await tx.execute(canaries.delete().where(running))


def _of(project: ProjectId) -> Any:
    return and_(environments.c.tenant == project.tenant, environments.c.project == project.project)


def _is(environment: EnvironmentId) -> Any:
    return and_(_of(environment.project_id), environments.c.name == environment.environment)


async def _update(tx: Transaction, environment: EnvironmentId, **values: Any) -> None:
    revision = environments.c.revision + 1
    await tx.execute(update(environments).where(_is(environment)).values(revision=revision, **values))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _now() -> float:
    return round(time.time(), 3)
