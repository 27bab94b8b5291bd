"""Many who change one thing at once: nothing is lost, versions are dense, and who is late is told."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from sqlalchemy import select, update

from server.record.audit import canonical, hash_of, note
from server.record.database import Record, open_record
from server.record.definitions import get_definition, put_definition
from server.record.tables import audit, environments, projects, versions
from server.record.verify import verify
from server.record.versions import Candidate, StaleError, commit_version, next_version
from server.types import EnvironmentId
from tests.server.record.rows import ALICE, PRODUCTION, STAGING, add_environments, publish

EDITORS = 500
KILLS = 100 if os.environ.get("BURGEE_PROFILE") == "nightly" else 2

SECOND_PROCESS = """
import asyncio, sys
from server.record.database import open_record
from tests.server.record.rows import PRODUCTION
from tests.server.record.test_concurrency import edit

async def run():
    record = await open_record(sys.argv[1])
    print(sum([await edit(record, PRODUCTION, f"second {number}") for number in range(40)]))
    await record.close()

asyncio.run(run())
"""


def blank(number: int, message: str) -> Candidate:
    """Of a snapshot that nobody serves."""
    content = message.encode()
    digest = hashlib.sha256(content).hexdigest()
    return Candidate(number, content, digest, content, digest, flags=1, message=message)


ONE_THAT_IS_KILLED = """
import asyncio, sys
from server.record.database import open_record
from tests.server.record.rows import PRODUCTION
from tests.server.record.test_concurrency import edit

async def run():
    record = await open_record(sys.argv[1])
    for number in range(100_000):
        if await edit(record, PRODUCTION, f"{number}"):
            print(number, flush=True)

asyncio.run(run())
"""


async def edit(record: Record, environment: EnvironmentId, message: str) -> bool:
    """Was this one first?"""
    async with record.look() as tx:
        expected, number = await next_version(tx, environment)
    await asyncio.sleep(0)
    try:
        async with record.change() as tx:
            await commit_version(tx, environment, expected=expected, candidate=blank(number, message), by=ALICE)
    except StaleError as error:
        assert error.newest > expected
        return False
    return True


async def assert_whole(record: Record, wins: int, environment: EnvironmentId = PRODUCTION) -> None:
    async with record.look() as tx:
        here = versions.c.environment == environment.environment
        numbers = (await tx.scalars(select(versions.c.number).where(here).order_by(versions.c.number))).all()
        assert numbers == list(range(1, wins + 1))
        live = select(environments.c.live_version).where(environments.c.name == environment.environment)
        assert await tx.scalar(live) == wins
        head = ""
        for place, row in enumerate((await tx.execute(select(audit).order_by(audit.c.number))).all(), 1):
            assert (row.number, row.previous) == (place, head)
            head = hash_of(head, row.tenant, row.number, row.at, row.actor, row.action, row.target, row.details)
            assert row.hash == head


def test_of_500_editors_of_one_environment_none_is_lost(url: str) -> None:
    async def run() -> None:
        record = await open_record(url)
        async with record.change() as tx:
            await add_environments(tx, PRODUCTION)
        first = await asyncio.gather(*(edit(record, PRODUCTION, f"editor {number}") for number in range(EDITORS)))
        outcomes = Counter(first)
        assert outcomes[True] + outcomes[False] == EDITORS
        assert outcomes[True] >= 1 and outcomes[False] >= 1
        async with record.look() as tx:
            said = set((await tx.scalars(select(versions.c.message))).all())
        assert said == {f"editor {number}" for number, won in enumerate(first) if won}
        await assert_whole(record, outcomes[True])
        await record.close()

    asyncio.run(run())


def test_of_500_editors_of_one_flag_none_is_lost(url: str) -> None:
    """Each counts one on from what it read."""

    async def run() -> None:
        record = await open_record(url)
        project = PRODUCTION.project_id
        async with record.change() as tx:
            await add_environments(tx, PRODUCTION)
            await put_definition(tx, project, "flag", "counter", b'{"n":0}', expected=None, by=ALICE)

        async def count_on() -> bool:
            async with record.look() as tx:
                found = await get_definition(tx, project, "flag", "counter")
            assert found is not None
            body = canonical({"n": json.loads(found.body)["n"] + 1})
            try:
                async with record.change() as tx:
                    await put_definition(tx, project, "flag", "counter", body, expected=found.revision, by=ALICE)
            except StaleError:
                return False
            return True

        outcomes = Counter(await asyncio.gather(*(count_on() for _ in range(EDITORS))))
        assert outcomes[True] >= 1 and outcomes[False] >= 1 and outcomes.total() == EDITORS
        async with record.look() as tx:
            found = await get_definition(tx, project, "flag", "counter")
        assert found is not None
        assert json.loads(found.body)["n"] == outcomes[True]
        assert found.revision == outcomes[True] + 1
        assert not any(chain.broken for chain in await verify(record))
        await record.close()

    asyncio.run(run())


def test_two_environments_of_a_project_are_published_at_once(url: str) -> None:
    """Each locks the row of its environment, then both the project's and the tenant's: no deadlock."""

    async def run() -> None:
        record = await open_record(url)
        async with record.change() as tx:
            await add_environments(tx, PRODUCTION, STAGING)

        async def publish_many(environment: EnvironmentId) -> list[int]:
            return [await publish(record, environment, f"value {number}") for number in range(15)]

        done = await asyncio.gather(publish_many(PRODUCTION), publish_many(STAGING))
        assert done[0] == done[1] == list(range(1, 16))
        async with record.look() as tx:
            assert await tx.scalar(select(projects.c.number)) == 30
        await record.close()

    asyncio.run(run())


def test_the_chain_of_what_belongs_to_no_tenant_has_many_writers(url: str) -> None:
    async def run() -> None:
        record = await open_record(url)

        async def write(number: int) -> None:
            async with record.change() as tx:
                await note(tx, ALICE, "tenant.create", f"t{number}", {"number": number}, tenant="")

        await asyncio.gather(*(write(number) for number in range(60)))
        async with record.look() as tx:
            rows = (await tx.execute(select(audit.c.number, audit.c.previous, audit.c.hash).order_by("number"))).all()
        assert [row.number for row in rows] == list(range(1, 61))
        assert [row.previous for row in rows] == ["", *(row.hash for row in rows[:-1])]
        await record.close()

    asyncio.run(run())


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_who_holds_one_environment_delays_no_other(url: str) -> None:
    async def run() -> None:
        record = await open_record(url)
        async with record.change() as tx:
            await add_environments(tx, PRODUCTION, STAGING)
        async with record.change() as held:
            await held.execute(update(environments).where(environments.c.name == "production").values(revision=1))
            assert await publish(record, STAGING, "meanwhile") == 1
            with pytest.raises(Exception, match="lock timeout"):
                await publish(record, PRODUCTION, "not yet")
        assert await publish(record, PRODUCTION, "now") == 1
        await record.close()

    asyncio.run(run())


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_two_processes_share_one_file(url: str) -> None:
    async def run() -> None:
        record = await open_record(url)
        async with record.change() as tx:
            await add_environments(tx, PRODUCTION)
        command = [sys.executable, "-c", SECOND_PROCESS, url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
            wins = sum([await edit(record, PRODUCTION, f"first {number}") for number in range(40)])
            while second.poll() is None:
                wins += await edit(record, PRODUCTION, "first, on and on")
                await asyncio.sleep(0.01)
            assert second.stdout is not None
            assert second.returncode == 0
            others = int(second.stdout.read())
        assert others >= 1 and wins >= 1
        await assert_whole(record, wins + others)
        await record.close()

    asyncio.run(run())


def test_what_was_acknowledged_survives_its_process(url: str) -> None:
    """Killed wherever it is: what it said is there, and there is no half of a change."""

    async def run() -> None:
        record = await open_record(url)
        async with record.change() as tx:
            await add_environments(tx, PRODUCTION)
        acknowledged: list[str] = []
        for _ in range(KILLS):
            command = [sys.executable, "-c", ONE_THAT_IS_KILLED, url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    acknowledged.append(line.strip())
                    if len(acknowledged) % 10 == 0:
                        process.kill()
        async with record.look() as tx:
            made = (await tx.scalars(select(versions.c.message).order_by(versions.c.number))).all()
        found = iter(made)
        assert all(each in found for each in acknowledged), "in the order of the acknowledgements"
        assert len(acknowledged) >= 10 * KILLS
        await assert_whole(record, len(made))
        await record.close()

    asyncio.run(run())
