"""Tenants and their projects as rows: made, changed, deleted, and made again under the same name.

    await create_tenant(tx, "shop", title="The shop", quotas={}, by=actor)
    await delete_project(tx, ProjectId("shop", "web"), by=actor)       its hosts are told: nothing of it is served

A row that is deleted stays, so its numbers go on where it is made again; what was below it does not come back: its
environments are deleted, its keys revoked. The caller has looked at `If-Match`, and tells hosts after the commit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import RowMapping, and_, delete, insert, select, update

from server.record.audit import INSTANCE, Actor, note
from server.record.database import Transaction
from server.record.environments import withdraw_environments
from server.record.keys import revoke_keys
from server.record.projects import touch
from server.record.tables import definitions, projects, tenants, webhooks
from server.types import ProjectId


class ExistsError(Exception):
    """There is one of that name already."""


Told = list[tuple[ProjectId, int]]  # projects whose hosts are to hear of it, with their numbers


async def tenant_row(tx: Transaction, name: str, *, lock: bool = False) -> RowMapping | None:
    query = select(tenants).where(tenants.c.name == name, tenants.c.deleted_at.is_(None))
    return (await tx.execute(query.with_for_update(key_share=True) if lock else query)).mappings().one_or_none()


async def tenant_rows(tx: Transaction, *, after: str, limit: int, only: str = "") -> list[RowMapping]:
    query = select(tenants).where(tenants.c.name > after, tenants.c.deleted_at.is_(None))
    if only:
        query = query.where(tenants.c.name == only)
    return list((await tx.execute(query.order_by(tenants.c.name).limit(limit))).mappings())


async def create_tenant(tx: Transaction, name: str, *, title: str, quotas: Mapping[str, Any], by: Actor) -> None:
    """Raises ExistsError."""
    there = await tx.scalar(select(tenants.c.deleted_at.is_(None)).where(tenants.c.name == name))
    values = {"title": title, "quotas": _json(quotas), "created_at": _now()}
    if there is None:
        await tx.execute(insert(tenants).values(name=name, revision=1, **values))
    elif there:
        raise ExistsError
    else:
        await _update_tenant(tx, name, deleted_at=None, paused=False, **values)
    details = {"title": title, "quotas": quotas}
    await note(tx, by, "tenant.create", name, details, tenant=name)
    await note(tx, by, "tenant.create", name, {}, tenant=INSTANCE)


async def change_tenant(
    tx: Transaction, name: str, *, title: str | None, quotas: Mapping[str, Any] | None, by: Actor
) -> None:
    """None: it stays."""
    changed = {"title": title, "quotas": quotas}
    details = {each: value for each, value in changed.items() if value is not None}
    values = {each: value if isinstance(value, str) else _json(value) for each, value in details.items()}
    await _update_tenant(tx, name, **values)
    await note(tx, by, "tenant.update", name, details, tenant=name)


async def delete_tenant(tx: Transaction, name: str, *, by: Actor) -> Told:
    names = await tx.scalars(
        select(projects.c.name)
        .where(projects.c.tenant == name, projects.c.deleted_at.is_(None))
        .order_by(projects.c.name)
    )
    told: Told = []
    for each in names.all():
        told += await delete_project(tx, ProjectId(name, each), by=by)
    await revoke_keys(tx, name)
    await tx.execute(delete(webhooks).where(webhooks.c.tenant == name))
    await _update_tenant(tx, name, deleted_at=_now())
    await note(tx, by, "tenant.delete", name, {}, tenant=name)
    await note(tx, by, "tenant.delete", name, {}, tenant=INSTANCE)
    return told


async def project_row(tx: Transaction, project: ProjectId, *, lock: bool = False) -> RowMapping | None:
    """None also where its tenant is gone."""
    query = select(projects).join(tenants, tenants.c.name == projects.c.tenant)
    query = query.where(_is(project), projects.c.deleted_at.is_(None), tenants.c.deleted_at.is_(None))
    if lock:
        query = query.with_for_update(key_share=True, of=projects)
    return (await tx.execute(query)).mappings().one_or_none()


async def project_rows(tx: Transaction, tenant: str, *, after: str, limit: int, only: str = "") -> list[RowMapping]:
    query = select(projects).where(
        projects.c.tenant == tenant, projects.c.name > after, projects.c.deleted_at.is_(None)
    )
    if only:
        query = query.where(projects.c.name == only)
    return list((await tx.execute(query.order_by(projects.c.name).limit(limit))).mappings())


async def create_project(tx: Transaction, project: ProjectId, *, title: str, by: Actor) -> Told:
    """Raises ExistsError. One that is made again begins with an empty working copy."""
    there = await tx.scalar(select(projects.c.deleted_at.is_(None)).where(_is(project)))
    told: Told = []
    if there is None:
        row = {"tenant": project.tenant, "name": project.project, "title": title, "created_at": _now()}
        await tx.execute(insert(projects).values(revision=1, **row))
    elif there:
        raise ExistsError
    else:
        here = and_(definitions.c.tenant == project.tenant, definitions.c.project == project.project)
        await tx.execute(delete(definitions).where(here))
        again = {"deleted_at": None, "paused": False, "title": title, "created_at": _now()}
        await _update_project(tx, project, edited=projects.c.edited + 1, **again)
        told.append((project, await touch(tx, project)))
    await note(tx, by, "project.create", str(project), {"title": title}, tenant=project.tenant)
    return told


async def change_project(tx: Transaction, project: ProjectId, *, title: str | None, by: Actor) -> None:
    details = {"title": title} if title is not None else {}
    await _update_project(tx, project, **details)
    await note(tx, by, "project.update", str(project), details, tenant=project.tenant)


async def delete_project(tx: Transaction, project: ProjectId, *, by: Actor) -> Told:
    await withdraw_environments(tx, project)
    number = await touch(tx, project)
    await revoke_keys(tx, project.tenant, project.project)
    await _update_project(tx, project, deleted_at=_now())
    await note(tx, by, "project.delete", str(project), {}, tenant=project.tenant)
    return [(project, number)]


def _is(project: ProjectId) -> Any:
    return and_(projects.c.tenant == project.tenant, projects.c.name == project.project)


async def _update_tenant(tx: Transaction, name: str, **values: Any) -> None:
    await tx.execute(update(tenants).where(tenants.c.name == name).values(revision=tenants.c.revision + 1, **values))


async def _update_project(tx: Transaction, project: ProjectId, **values: Any) -> None:
    await tx.execute(update(projects).where(_is(project)).values(revision=projects.c.revision + 1, **values))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _now() -> float:
    return round(time.time(), 3)
