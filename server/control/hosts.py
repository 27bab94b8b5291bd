"""What the hosts last said of themselves, and waiting until all of them have something.

    hosts.hear("edge-1", HostReport(projects={"shop/web": 18}, …))
    await hosts.wait_for(EnvironmentId("shop", "web", "production"), 18, timeout=5.0)     Waited(hosts=(…,), silent=())

Reports are kept in memory as they come, and in the record once a second at most: that is how a new control plane knows
whom to wait for, and how several know of each other's hosts.

Who reports with an edge key of a tenant is not trusted: it speaks of what it is sent, in few and short words.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from server.record import tables
from server.record.database import Record, RecordError
from server.sync.messages import CanaryReport, HostReport
from server.sync.scope import ALL, Scope
from server.types import EnvironmentId, ProjectId

SILENT: Final = 30.0  # seconds after which a host counts as gone
LONGEST_SCOPE: Final = 100  # characters of it that are part of a host's name
LONGEST_TEXT: Final = 500  # characters of a complaint, or of why something cannot be installed
LONGEST_NAME: Final = 100  # characters of the other texts of a report
MOST_HOSTS: Final = 10_000  # of the instance; and of all tenants
OF_A_TENANT: Final = 500  # hosts that speak with its keys
OF_A_SCOPE: Final = 50
MOST_PROJECTS: Final = 50_000  # of a host with a key of a tenant, where its reports are added up
_FORGET: Final = 7 * 86_400.0  # seconds after which it is not listed any more
_STORE: Final = 1.0  # seconds between two looks at what is to be stored, and at what others stored


class Stored(msgspec.Struct, frozen=True):
    """A row's body."""

    report: HostReport
    tenant: str = ""
    project: str = ""
    environments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """A host as it was last heard. Those with a key of a tenant have its name before theirs: `acme:edge-1`."""

    name: str
    at: float  # seconds since the epoch
    report: HostReport  # its projects are all there are
    scope: Scope = ALL

    @property
    def silent(self) -> bool:
        return time.time() - self.at > SILENT

    def number_of(self, project: ProjectId) -> int:
        """Of the record that all its workers answer from; 0: none, or none that is known."""
        return self.report.projects.get(str(project), 0) if self.report.workers else 0


class HostState(msgspec.Struct, frozen=True):
    host: str
    number: int  # of the project's record that all its workers answer from
    done: bool
    held: bool
    why: str | None = None  # it could not install a newer one


class Waited(msgspec.Struct, frozen=True):
    done: bool  # every host that speaks and is not held has it, and there is one
    hosts: tuple[HostState, ...]
    silent: tuple[str, ...]  # hosts that have said nothing for 30 s: nobody waits for them


class Hosts:
    def __init__(self, record: Record) -> None:
        self._record = record
        self._hosts: dict[str, Host] = {}
        self._heard: dict[str, tuple[str, int]] = {}  # by host: the agent, the number of its last report
        self._unstored: set[str] = set()
        self._dropped: set[str] = set()  # whose rows are to go
        self._news = asyncio.Event()
        self._log = structlog.get_logger("hosts")

    def __iter__(self) -> Iterator[Host]:
        return iter(sorted(self._hosts.values(), key=lambda host: host.name))

    def __len__(self) -> int:
        return len(self._hosts)

    def admits(self, name: str, scope: Scope = ALL) -> bool:
        """Is there room for it? The host of its scope that is silent for longest makes some."""
        if _full_name(name, scope) in self._hosts:
            return True
        if scope == ALL:  # others take no room from it
            return sum(each.scope == ALL for each in self._hosts.values()) < MOST_HOSTS
        others = [each for each in self._hosts.values() if each.scope != ALL]
        tenant = [each for each in others if each.scope.tenant == scope.tenant]
        same = [each for each in tenant if each.scope == scope]
        if len(others) < MOST_HOSTS and len(tenant) < OF_A_TENANT and len(same) < OF_A_SCOPE:
            return True
        silent = min((each for each in same if each.silent), key=lambda each: each.at, default=None)
        if silent is not None:
            self._forget(silent.name)
            self._dropped.add(silent.name)
        return silent is not None

    def hear(self, name: str, report: HostReport, scope: Scope = ALL) -> bool:
        """False: it says what changed since a report that was not heard here. Then it is to say everything."""
        name = _full_name(name, scope)
        agent = report.started_at
        if report.number and self._heard.get(name) != (agent, report.number - 1):
            return False
        projects = report.projects
        if report.number:
            projects = {**self._hosts[name].report.projects, **projects}
        if scope != ALL:
            report = _within(scope, report)
            projects = {each: number for each, number in projects.items() if _has(scope, each)}
            if report.number and len(projects) > MOST_PROJECTS:
                return False
        report = _clipped(report)
        self._dropped.discard(name)
        self._heard[name] = agent, report.number
        self._hosts[name] = Host(name, time.time(), msgspec.structs.replace(report, projects=projects), scope)
        self._unstored.add(name)
        self._news.set()
        self._news = asyncio.Event()
        return True

    async def news(self, timeout: float) -> None:
        """Returns when a host has said something, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout)

    async def wait_for(self, environment: EnvironmentId, number: int, timeout: float) -> Waited:
        """Until every worker of every host answers from the project's record of that number, or a later one."""
        give_up = time.monotonic() + timeout
        while True:
            found = self.state_of(environment, number)
            left = give_up - time.monotonic()
            if found.done or left <= 0:
                return found
            await self.news(min(left, 1.0))  # somebody may fall silent meanwhile

    def state_of(self, environment: EnvironmentId, number: int) -> Waited:
        """Of the hosts that are sent the environment."""
        project = environment.project_id
        concerned = [each for each in self if each.scope.covers_environment(environment)]
        states = tuple(
            HostState(
                each.name,
                each.number_of(project),
                each.number_of(project) >= number,
                each.report.held,
                each.report.behind.get(str(project)),
            )
            for each in concerned
            if not each.silent
        )
        awaited = [each for each in states if not each.held]
        silent = tuple(each.name for each in concerned if each.silent)
        return Waited(bool(awaited) and all(each.done for each in awaited), states, silent)

    def canary_reports(self, environment: EnvironmentId, version: int) -> dict[str, CanaryReport]:
        """What hosts say of a canary, by their names."""
        said = {each.name: each.report.canaries.get(str(environment)) for each in self}
        return {name: report for name, report in said.items() if report is not None and report.version == version}

    def stuck_at(self, project: ProjectId) -> bool:
        """Does a host that speaks, and is sent all of the project, fail to install what the project has?"""
        return any(
            str(project) in each.report.behind and not each.silent and not each.scope.environments for each in self
        )

    async def run(self) -> None:
        """Store what was heard, and read what other control planes heard. Without the database, memory has to do."""
        while True:
            try:
                await self._store()
                await self._read()
            except RecordError as error:
                self._log.debug("reports cannot be stored", why=str(error))
            except Exception:  # no reason for a control plane to end
                self._log.exception("reports cannot be stored")
            await asyncio.sleep(_STORE)

    async def _store(self) -> None:
        stored = [self._hosts[name] for name in sorted(self._unstored)]  # in one order: two may store the same
        dropped = set(self._dropped)
        if not stored and not dropped:
            return
        async with self._record.change() as tx:
            make = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
            for host in stored:
                body = Stored(host.report, host.scope.tenant, host.scope.project, host.scope.environments)
                row = make(tables.hosts).values(name=host.name, at=host.at, body=msgspec.json.encode(body).decode())
                again = {"at": row.excluded.at, "body": row.excluded.body}
                await tx.execute(row.on_conflict_do_update(index_elements=["name"], set_=again))
            gone = (tables.hosts.c.at < time.time() - _FORGET) | tables.hosts.c.name.in_(dropped)
            await tx.execute(delete(tables.hosts).where(gone))
        self._unstored -= {each.name for each in stored if self._hosts.get(each.name) is each}
        self._dropped -= dropped

    async def _read(self) -> None:
        async with self._record.look() as tx:
            moments = {row.name: row.at for row in await tx.execute(select(tables.hosts.c.name, tables.hosts.c.at))}
            newer = [name for name, at in moments.items() if name not in self._hosts or self._hosts[name].at < at]
            rows = (await tx.execute(select(tables.hosts).where(tables.hosts.c.name.in_(newer)))).all() if newer else []
        for row in rows:
            stored = _decode(row.body) if row.name not in self._dropped else None
            if stored is not None and (row.name not in self._hosts or self._hosts[row.name].at < row.at):
                scope = Scope(stored.tenant, stored.project, stored.environments)
                self._hosts[row.name] = Host(row.name, row.at, stored.report, scope)
                self._heard.pop(row.name, None)
                self._news.set()
                self._news = asyncio.Event()
        for name in self._hosts.keys() - moments.keys() - self._unstored:
            if self._hosts[name].silent:
                self._forget(name)

    def _forget(self, name: str) -> None:
        del self._hosts[name]
        self._heard.pop(name, None)
        self._unstored.discard(name)


def _decode(body: str) -> Stored | None:
    try:
        return msgspec.json.decode(body, type=Stored)
    except msgspec.MsgspecError:
        return None  # of another version of Burgee


def _full_name(name: str, scope: Scope) -> str:
    """Nobody speaks in the name of a host that is sent something else."""
    if scope == ALL:
        return name
    of = "/".join(filter(None, (scope.tenant, scope.project, "+".join(scope.environments))))
    if len(of) > LONGEST_SCOPE:
        of = hashlib.sha256(of.encode()).hexdigest()[:16]
    return f"{of}:{name}"


def _within(scope: Scope, report: HostReport) -> HostReport:
    """Nobody speaks of what they are not sent."""
    return msgspec.structs.replace(
        report,
        behind={each: why for each, why in report.behind.items() if _has(scope, each)},
        canaries={each: said for each, said in report.canaries.items() if _has_environment(scope, each)},
    )


def _clipped(report: HostReport) -> HostReport:
    """Its texts go into the record, the audit and webhooks."""
    return msgspec.structs.replace(
        report,
        behind={each: _text(why, LONGEST_TEXT) for each, why in report.behind.items()},
        source=_text(report.source, LONGEST_NAME),
        version=_text(report.version, LONGEST_NAME),
        started_at=_text(report.started_at, LONGEST_NAME),
        canaries={
            each: msgspec.structs.replace(said, complaint=_text(said.complaint, LONGEST_TEXT))
            for each, said in report.canaries.items()
        },
    )


def _text(said: str, longest: int) -> str:
    return said[:longest].replace("\x00", " ")  # which Postgres does not take


def _has(scope: Scope, project: str) -> bool:
    tenant, _, name = project.partition("/")
    return scope.covers(ProjectId(tenant, name))


def _has_environment(scope: Scope, environment: str) -> bool:
    names = environment.split("/")
    return len(names) == 3 and scope.covers_environment(EnvironmentId(*names))
