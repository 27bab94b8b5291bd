"""How a canary begins and ends in the record, on SQLite and on Postgres, with the real compiler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from sqlalchemy import select, update

from server.control.canaries import Canaries
from server.control.feed import Feed
from server.control.hosts import Hosts
from server.control.publishing.documents import taken_apart
from server.control.publishing.holding import Scope, set_paused
from server.control.publishing.kill import prepare_kill
from server.control.publishing.publish import Desk, commit_alone, prepare_publish
from server.record.canaries import Plan, all_running, plan_of
from server.record.database import Record
from server.record.definitions import Edits, replace_all
from server.record.projects import listing, record_of
from server.record.schema import open_migrated
from server.record.tables import audit, environments, versions
from server.record.versions import document_of
from server.sources.compiling import Compiler
from server.state.records import ProjectRecord
from server.sync.messages import CanaryReport, HostReport
from server.sync.scope import Scope as SyncScope
from server.types import ProjectId
from tests.server.canary.serving import ALICE, APP, document, publish
from tests.server.record.rows import add_environments

PATIENCE = 60.0
LONG = Plan(0.5, 600.0)
SHORT = Plan(0.5, 0.01)


class Plane:
    """A control plane without its sockets."""

    def __init__(self, record: Record, compiler: Compiler) -> None:
        self.record = record
        self.hosts = Hosts(record)
        self.told: list[tuple[ProjectId, int]] = []
        self.canaries = Canaries(record, self.hosts, compiler, lambda *told: self.told.append(told))
        self.desk = Desk(record, compiler, Feed())
        self._heard = 0

    def hear(self, complaint: str, *, version: int = 2, behind: str = "") -> None:
        report = CanaryReport(version=version, complaint=complaint)
        self.hosts.hear(
            "here",
            HostReport(canaries={str(APP): report}, workers=2, behind={str(APP.project_id): behind} if behind else {}),
        )

    async def record_of(self) -> ProjectRecord:
        async with self.record.look() as tx:
            found = await record_of(tx, APP.project_id)
        assert found is not None
        return found

    async def versions(self) -> list[tuple[int, str, str]]:
        async with self.record.look() as tx:
            rows = await tx.execute(select(versions).order_by(versions.c.number))
            return [(row.number, row.kind, row.created_by) for row in rows]

    async def actions(self) -> list[str]:
        async with self.record.look() as tx:
            return list(await tx.scalars(select(audit.c.action).order_by(audit.c.number)))

    async def until(self, holds: Callable[[ProjectRecord], bool]) -> ProjectRecord:
        async with asyncio.timeout(PATIENCE):
            while not holds(found := await self.record_of()):
                await asyncio.sleep(0.02)
        return found


@asynccontextmanager
async def plane(url: str) -> AsyncIterator[Plane]:
    """With version 1 live."""
    record, compiler = await open_migrated(url), Compiler(1)
    async with record.change() as tx:
        await add_environments(tx, APP)
    await publish(record, "one", None)
    found = Plane(record, compiler)
    running = asyncio.create_task(found.canaries.run())
    try:
        yield found
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        compiler.close()
        await record.close()


def run(url: str, work: Callable[[Plane], Awaitable[None]]) -> None:
    async def within() -> None:
        async with plane(url) as found:
            await work(found)

    asyncio.run(within())


@pytest.mark.parametrize(
    ("settings", "plan"),
    [
        ({}, None),
        ({"canaryShare": 0}, None),
        ({"canaryShare": 1}, None),
        ({"canaryShare": 0.25}, Plan(0.25, 60.0)),
        ({"canaryShare": 0.25, "canarySeconds": 300}, Plan(0.25, 300.0)),
    ],
)
def test_what_settings_say(settings: dict[str, object], plan: Plan | None) -> None:
    assert plan_of(settings) == plan


def test_hosts_are_told_of_both(database_url: str) -> None:
    async def work(plane: Plane) -> None:
        await publish(plane.record, "two", LONG)
        found = await plane.record_of()
        assert [(each.name, each.version) for each in found.environments] == [("default", 1)]
        (canary,) = found.canaries
        assert (canary.published.version, canary.share) == (2, 0.5)
        assert found.version == 2
        async with plane.record.look() as tx:
            assert await listing(tx) == {APP.project_id: 2}

    run(database_url, work)


def test_the_first_version_is_none(database_url: str) -> None:
    async def work(plane: Plane) -> None:
        async with plane.record.change() as tx:
            await tx.execute(update(environments).values(live_version=0))
        await publish(plane.record, "two", LONG)
        found = await plane.record_of()
        assert [each.version for each in found.environments] == [2] and found.canaries == ()

    run(database_url, work)


def test_a_complaint_halts(database_url: str) -> None:
    async def work(plane: Plane) -> None:
        await publish(plane.record, "two", LONG)
        plane.hear("", version=2)
        plane.hear("of another", version=7)
        await asyncio.sleep(0.1)
        assert len(await plane.versions()) == 2
        plane.hear("it is bad")
        found = await plane.until(lambda record: not record.canaries)
        assert [each.version for each in found.environments] == [3]
        assert (await plane.versions())[2] == (3, "rollback", "canary")
        async with plane.record.look() as tx:
            rows = (await tx.execute(select(versions).order_by(versions.c.number))).all()
        assert rows[0].document == rows[2].document != rows[1].document
        assert (rows[2].origin, rows[2].message) == ("1", "the canary of version 2 is halted: here: it is bad")
        assert (await plane.actions())[-2:] == ["environment.rollback", "canary.halt"]
        assert plane.told == [(APP.project_id, found.version)]

    run(database_url, work)


def test_of_two_control_planes_one_halts(database_url: str) -> None:
    async def work(plane: Plane) -> None:
        await publish(plane.record, "two", LONG)
        async with plane.record.look() as tx:
            (running,) = await all_running(tx)
        done = await asyncio.gather(*(plane.canaries.halt(running, "it is bad") for _ in range(4)))
        assert sorted(done) == [False, False, False, True]
        assert [number for number, _, _ in await plane.versions()] == [1, 2, 3]

    run(database_url, work)


def test_without_a_complaint_it_is_promoted_once(database_url: str) -> None:
    async def work(plane: Plane) -> None:
        other = Plane(plane.record, plane.desk.compiler)
        racing = asyncio.create_task(other.canaries.run())
        await publish(plane.record, "two", SHORT)
        found = await plane.until(lambda record: not record.canaries)
        assert [each.version for each in found.environments] == [2]
        await asyncio.sleep(0.6)
        racing.cancel()
        assert (await plane.actions()).count("canary.promote") == 1
        assert (await plane.record_of()).version == found.version and len(plane.told) + len(other.told) == 1

    run(database_url, work)


def test_a_host_that_cannot_install_it_keeps_it_from_being_promoted(database_url: str) -> None:
    async def work(plane: Plane) -> None:
        plane.hear("", behind="a snapshot does not verify")
        await publish(plane.record, "two", SHORT)
        await asyncio.sleep(1.2)
        assert (await plane.record_of()).canaries
        plane.hear("")
        await plane.until(lambda record: not record.canaries)

    run(database_url, work)


def test_a_host_that_is_not_sent_all_of_the_project_keeps_nothing_waiting(database_url: str) -> None:
    async def work(plane: Plane) -> None:
        report = HostReport(behind={str(APP.project_id): "no"}, workers=1)
        plane.hosts.hear("edge", report, SyncScope("acme", "app", ("staging",)))
        await publish(plane.record, "two", SHORT)
        await plane.until(lambda record: not record.canaries)

    run(database_url, work)


def test_whoever_pauses_while_it_is_decided_is_first(postgres_url: str) -> None:
    async def work(plane: Plane) -> None:
        await publish(plane.record, "two", LONG)
        async with plane.record.look() as tx:
            (running,) = await all_running(tx)
        async with plane.record.change() as tx:
            await set_paused(tx, Scope(*APP), True, by=ALICE)
            deciding = asyncio.create_task(plane.canaries._promote(running))
            await asyncio.sleep(0.5)  # it has read what there is, or waits for us
        await deciding
        found = await plane.record_of()
        assert [each.version for each in found.environments] == [1] and found.canaries

    run(postgres_url, work)


def test_what_is_held_is_neither_halted_nor_promoted(database_url: str) -> None:
    async def work(plane: Plane) -> None:
        here = Scope(*APP)
        async with plane.record.change() as tx:
            await set_paused(tx, here, True, by=ALICE)
        await publish(plane.record, "not live", LONG)  # and no canary either
        assert (await plane.record_of()).canaries == ()
        async with plane.record.change() as tx:
            await set_paused(tx, here, False, by=ALICE)
        await publish(plane.record, "three", Plan(0.5, 0.3))
        async with plane.record.change() as tx:
            await set_paused(tx, here, True, by=ALICE)
        before = await plane.record_of()
        assert [each.published.version for each in before.canaries] == [3]
        plane.hear("it is bad", version=3)
        await asyncio.sleep(1.2)
        assert await plane.record_of() == before
        async with plane.record.change() as tx:
            await set_paused(tx, here, False, by=ALICE)
        found = await plane.until(lambda record: not record.canaries)
        assert [each.version for each in found.environments] == [4]  # resuming did not promote it

    run(database_url, work)


def test_an_environment_that_says_so_tries_what_is_published(database_url: str) -> None:
    async def work(plane: Plane) -> None:
        async with plane.record.change() as tx:
            settings = msgspec.json.encode({"canaryShare": 0.5, "canarySeconds": 600}).decode()
            await tx.execute(update(environments).values(settings=settings))
            edits = Edits(taken_apart(document("two")).parts)
            await replace_all(tx, APP.project_id, edits, expected=0, by=ALICE)
        await commit_alone(plane.desk, await prepare_publish(plane.desk, APP, expected=1), by=ALICE)
        found = await plane.record_of()
        assert [each.version for each in found.environments] == [1]
        assert [each.published.version for each in found.canaries] == [2]
        # A kill is of what is live, and for all: it must not bring the canary to everybody.
        await commit_alone(plane.desk, await prepare_kill(plane.desk, APP, "f0"), by=ALICE)
        found = await plane.record_of()
        assert [each.version for each in found.environments] == [3] and found.canaries == ()
        async with plane.record.look() as tx:
            digest = await tx.scalar(select(versions.c.document).where(versions.c.number == 3))
            content = await document_of(tx, APP.project_id, digest or "")
        assert content is not None and content.count(b'"one"') == 20 and b'"two"' not in content

    run(database_url, work)
