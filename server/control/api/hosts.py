"""What hosts have: `GET /hosts`, `GET /status`, and `?wait=5` of whatever publishes.

    GET /api/v1/hosts      {"items": [{"name": "edge-1", "at": "…", "workers": 2, "held": false, …}], "next": null}
    GET /api/v1/status     {"items": [{"environment": "shop/web/production", "liveVersion": 17, "missing": [], …}], …}

A key of a tenant or a project sees of each host what is its own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import and_, select, tuple_

from server.control.api.frame import Answer, Call, Page, PageQuery, Route, page_of
from server.control.hosts import Host, Hosts, Waited
from server.control.roles import Need, Principal, Role
from server.record.database import is_paused
from server.record.tables import canaries, environments, projects, tenants
from server.sync.messages import CanaryReport
from server.types import EnvironmentId

LONGEST_WAIT = 60.0  # seconds

Moment = Annotated[datetime, Meta(tz=True)]


class Wait(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    wait: Annotated[float, Meta(ge=0, le=LONGEST_WAIT)] = 0.0  # seconds, until every worker of every host has it


class HostView(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    at: Moment  # when it last said something
    silent: bool  # for so long that nobody waits for it
    workers: int
    held: bool
    source: str
    version: str  # of Burgee
    started_at: str  # its agent
    projects: int  # that all its workers answer from
    behind: dict[str, str]  # what it cannot install, and why
    canaries: dict[str, CanaryReport]


class CanaryView(msgspec.Struct, frozen=True, rename="camel"):
    version: int
    share: float
    since: Moment
    until: Moment  # when it is promoted, if nobody complains
    hosts: dict[str, CanaryReport]


class EnvironmentStatus(msgspec.Struct, frozen=True, rename="camel"):
    environment: str
    version: int  # the newest
    live_version: int  # what hosts are told to serve
    held: bool  # itself, its project, its tenant or the instance is paused, or it is pinned
    number: int  # of the project's record
    missing: tuple[str, ...]  # hosts that speak, and do not all answer from that record yet
    canary: CanaryView | None = None


class Status(Page[EnvironmentStatus], frozen=True, kw_only=True):
    paused: bool  # the instance: no host anywhere follows


async def waited_for(hosts: Hosts | None, environment: EnvironmentId, number: int, seconds: float) -> Waited | None:
    """None where nobody wants to wait, or there are no hosts here."""
    return await hosts.wait_for(environment, number, seconds) if hosts is not None and seconds else None


async def list_hosts(call: Call[None, PageQuery]) -> Answer:
    seen = [
        _host_view(host, _sees(call.principal))
        for host in call.parts.hosts or ()
        if call.principal.touches(host.scope.tenant, host.scope.project) and host.name > call.query.after
    ]
    return Answer(page_of(seen, call.query.limit, lambda view: view.name))


async def status(call: Call[None, PageQuery]) -> Answer:
    principal, hosts = call.principal, call.parts.hosts
    names = (environments.c.tenant, environments.c.project, environments.c.name)
    query = (
        select(environments, projects.c.number, projects.c.paused.label("project_paused"))
        .add_columns(tenants.c.paused.label("tenant_paused"), canaries.c.number.label("canary"))
        .add_columns(canaries.c.share, canaries.c.seconds, canaries.c.since)
        .join(projects, and_(projects.c.tenant == environments.c.tenant, projects.c.name == environments.c.project))
        .join(tenants, tenants.c.name == environments.c.tenant)
        .join(
            canaries,
            and_(
                canaries.c.tenant == environments.c.tenant,
                canaries.c.project == environments.c.project,
                canaries.c.environment == environments.c.name,
                canaries.c.number > environments.c.live_version,
            ),
            isouter=True,
        )
        .where(*(each.deleted_at.is_(None) for each in (environments.c, projects.c, tenants.c)))
    )
    if principal.tenant:
        query = query.where(environments.c.tenant == principal.tenant)
    if principal.project:
        query = query.where(environments.c.project == principal.project)
    after = tuple(call.query.after.split("/"))
    if len(after) == 3:
        query = query.where(tuple_(*names) > after)
    async with call.parts.record.look() as tx:
        rows = (await tx.execute(query.order_by(*names).limit(call.query.limit + 1))).all()
        paused = await is_paused(tx)
    page = page_of([_status_of(row, hosts, paused) for row in rows], call.query.limit, lambda each: each.environment)
    return Answer(Status(page.items, page.next, paused=paused))


def _host_view(host: Host, sees: Callable[[str], bool]) -> HostView:
    report = host.report
    return HostView(
        host.name,
        datetime.fromtimestamp(host.at, UTC),
        host.silent,
        report.workers,
        report.held,
        report.source,
        report.version,
        report.started_at,
        sum(map(sees, report.projects)),
        {each: why for each, why in report.behind.items() if sees(each)},
        {each: said for each, said in report.canaries.items() if sees(each.rpartition("/")[0])},
    )


def _sees(principal: Principal) -> Callable[[str], bool]:
    def sees(project: str) -> bool:
        tenant, _, name = project.partition("/")
        return principal.reaches(tenant, name)

    return sees


def _status_of(row: Any, hosts: Hosts | None, paused: bool) -> EnvironmentStatus:
    environment = EnvironmentId(row.tenant, row.project, row.name)
    canary = None
    if row.canary is not None:
        said = hosts.canary_reports(environment, row.canary) if hosts is not None else {}
        since, until = (datetime.fromtimestamp(moment, UTC) for moment in (row.since, row.since + row.seconds))
        canary = CanaryView(row.canary, row.share, since, until, said)
    waited = hosts.state_of(environment, row.number) if hosts is not None else None
    return EnvironmentStatus(
        str(environment),
        row.version,
        row.live_version,
        bool(paused or row.paused or row.project_paused or row.tenant_paused or row.pinned_version is not None),
        row.number,
        tuple(each.host for each in waited.hosts if not each.done) if waited is not None else (),
        canary,
    )


_SEEN = Need(Role.VIEWER, in_part=True)
ROUTES = (
    Route("hosts_list", "GET", "/hosts", _SEEN, list_hosts, "the hosts that serve", answer=Page[HostView],
          query=PageQuery),
    Route("status", "GET", "/status", _SEEN, status, "which host has what", answer=Status,
          query=PageQuery),
)  # fmt: skip
