"""Projects of a tenant.

POST /api/v1/tenants/shop/projects {"name": "web"}     201 {"name": "web", "title": "", …}
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import RowMapping

from server.control.api.frame import BASE, Answer, Call, Page, PageQuery, Route, found, page_of
from server.control.api.values import Moment, Name, Title, checked_name, moment_of
from server.control.problems import exists
from server.control.roles import Need, Role
from server.record import tenants
from server.record.database import Transaction
from server.record.locks import lock_tree
from server.record.tenants import ExistsError
from server.types import ProjectId


class NewProject(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    name: Name
    title: Title = ""


class ProjectChange(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    title: Title | UnsetType = UNSET


class Project(msgspec.Struct, frozen=True, rename="camel"):
    tenant: str
    name: str
    title: str
    paused: bool
    number: int  # what its hosts are to have
    revision: int
    created_at: Moment


def _project(row: RowMapping) -> Project:
    return Project(
        tenant=row["tenant"],
        name=row["name"],
        title=row["title"],
        paused=row["paused"],
        number=row["number"],
        revision=row["revision"],
        created_at=moment_of(row["created_at"]),
    )


async def _answer(tx: Transaction, project: ProjectId, status: int = 200) -> Answer:
    found_one = _project(found(await tenants.project_row(tx, project)))
    return Answer(found_one, status, etag=found_one.revision)


async def listed(call: Call[None, PageQuery]) -> Answer:
    """Those that the key reaches."""
    tenant, query = call.path["tenant"], call.query
    async with call.parts.record.look() as tx:
        found(await tenants.tenant_row(tx, tenant))
        only = call.principal.project
        rows = await tenants.project_rows(tx, tenant, after=query.after, limit=query.limit + 1, only=only)
    return Answer(page_of([_project(each) for each in rows], query.limit, lambda each: each.name))


async def create(call: Call[NewProject, None]) -> Answer:
    project = ProjectId(call.path["tenant"], checked_name(call.body.name))

    async def work(tx: Transaction) -> Answer:
        await lock_tree(tx, *project)  # of one that was deleted
        found(await tenants.tenant_row(tx, project.tenant, lock=True))
        try:
            call.tell_all(await tenants.create_project(tx, project, title=call.body.title, by=call.actor))
        except ExistsError:
            raise exists("project", project.project) from None
        answer = await _answer(tx, project, 201)
        return answer.at(f"{BASE}/tenants/{project.tenant}/projects/{project.project}")

    return await call.change(work)


async def get(call: Call[None, None]) -> Answer:
    async with call.parts.record.look() as tx:
        return await _answer(tx, call.project)


async def change(call: Call[ProjectChange, None]) -> Answer:
    title = None if call.body.title is UNSET else call.body.title

    async def work(tx: Transaction) -> Answer:
        row = found(await tenants.project_row(tx, call.project, lock=True))
        call.require_match(row["revision"], _project(row))
        await tenants.change_project(tx, call.project, title=title, by=call.actor)
        return await _answer(tx, call.project)

    return await call.change(work)


async def remove(call: Call[None, None]) -> Answer:
    async def work(tx: Transaction) -> Answer:
        await lock_tree(tx, *call.project)
        row = found(await tenants.project_row(tx, call.project, lock=True))
        call.require_match(row["revision"], _project(row))
        call.tell_all(await tenants.delete_project(tx, call.project, by=call.actor))
        return Answer(status=204)

    return await call.change(work)


_ALL, _ONE = "/tenants/{tenant}/projects", "/tenants/{tenant}/projects/{project}"
_SEEN = Need(Role.VIEWER, in_part=True)

ROUTES = (
    Route("projects_list", "GET", _ALL, _SEEN, listed, "projects of a tenant", answer=Page[Project], query=PageQuery),
    Route(
        "project_create", "POST", _ALL, Need(Role.OWNER), create, "make a project", answer=Project, status=201,
        statuses=(409,), body=NewProject,
    ),
    Route("project_get", "GET", _ONE, Need(Role.VIEWER), get, "one project", answer=Project),
    Route(
        "project_change", "PATCH", _ONE, Need(Role.OWNER), change, "change its title", answer=Project,
        body=ProjectChange, conditional=True,
    ),
    Route(
        "project_delete", "DELETE", _ONE, Need(Role.OWNER), remove,
        "delete it with all below it; hosts stop serving it", status=204, conditional=True,
    ),
)  # fmt: skip
