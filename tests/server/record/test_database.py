"""What is said, and how soon, when the database is killed, stopped, refuses, or loses the connection in a commit."""

from __future__ import annotations

import asyncio
import os
import stat
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from server.record.database import (
    Record,
    RecordError,
    RecordInDoubtError,
    RecordUnavailableError,
    open_record,
    put_value,
)
from server.record.schema import open_migrated
from server.record.tables import instance
from tests.services import PASSWORD, PostgresServer

HANGS = 30  # seconds; nobody waits so long for a database that is away, on any machine


async def write(record: Record, name: str) -> None:
    async with record.change() as tx:
        await put_value(tx, name, name)


async def names(record: Record) -> set[str]:
    async with record.look() as tx:
        return set((await tx.scalars(select(instance.c.name))).all())


async def until_well(record: Record, name: str) -> None:
    """What callers do: try again."""
    async with asyncio.timeout(HANGS):
        while True:
            try:
                return await write(record, name)
            except RecordUnavailableError:
                await asyncio.sleep(0.1)


async def refused(attempt: Callable[[], Awaitable[object]]) -> RecordUnavailableError:
    started = time.monotonic()
    with pytest.raises(RecordUnavailableError) as caught:
        await attempt()
    assert time.monotonic() - started < HANGS
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    return caught.value


def test_a_postgres_that_is_killed_is_found_again(own_postgres: PostgresServer) -> None:
    async def run() -> None:
        record = await open_migrated(own_postgres.url)
        await asyncio.gather(*(write(record, f"before{number}") for number in range(20)))  # every connection is open
        async with record.change() as tx:
            await put_value(tx, "kept", "")
        with pytest.raises(RecordUnavailableError):
            async with record.change() as tx:
                await put_value(tx, "lost", "")
                own_postgres.kill()
                await put_value(tx, "lost too", "")
        refusals = await asyncio.gather(*(refused(lambda: write(record, "lost")) for _ in range(50)))
        assert {type(each) for each in refusals} == {RecordUnavailableError}
        await asyncio.to_thread(own_postgres.start)
        await until_well(record, "after")
        found = await names(record)
        assert {"kept", "after", "before19"} <= found and not found & {"lost", "lost too"}
        await record.close()

    asyncio.run(run())


def test_a_postgres_that_is_stopped_holds_nobody_up(own_postgres: PostgresServer) -> None:
    async def run() -> None:
        record = await open_migrated(own_postgres.url)
        await asyncio.gather(*(write(record, f"before{number}") for number in range(20)))
        own_postgres.pause()
        error = await refused(lambda: names(record))
        assert "no answer" in str(error)
        await asyncio.gather(*(refused(lambda: write(record, "lost")) for _ in range(50)))
        own_postgres.resume()
        await until_well(record, "after")
        own_postgres.pause()
        async with asyncio.timeout(HANGS):
            await record.close()
        own_postgres.resume()

    asyncio.run(run())


def test_a_postgres_that_stops_within_a_transaction_is_left(own_postgres: PostgresServer) -> None:
    async def run() -> None:
        record = await open_migrated(own_postgres.url)

        async def stopped_within() -> None:
            async with record.change() as tx:
                await put_value(tx, "lost", "")
                own_postgres.pause()
                await put_value(tx, "lost too", "")

        await refused(stopped_within)
        own_postgres.resume()
        await until_well(record, "after")
        assert not await names(record) & {"lost", "lost too"}
        await record.close()

    asyncio.run(run())


def test_a_connection_lost_in_the_commit_leaves_it_in_doubt(own_postgres: PostgresServer) -> None:
    async def run() -> None:
        record = await open_migrated(own_postgres.url)
        async with record.change() as tx:
            await tx.execute(
                text(
                    "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
                    "$$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$"
                )
            )
            await tx.execute(
                text(
                    "CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON instance "
                    "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle()"
                )
            )

        async def kill_in_commit() -> None:
            busy = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COMMIT%'"
            async with asyncio.timeout(HANGS), record.look() as tx:
                while not await tx.scalar(text(busy)):
                    await tx.execute(text("SELECT pg_stat_clear_snapshot()"))
            own_postgres.kill()

        killing = asyncio.create_task(kill_in_commit())
        error = await refused(lambda: write(record, "perhaps"))
        await killing
        assert type(error) is RecordInDoubtError
        assert "not known whether the change was made" in str(error)
        await record.close()

    asyncio.run(run())


def test_a_database_that_never_answers_is_not_run_over(tmp_path: Path) -> None:
    connections = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        record = await open_record(f"postgresql://burgee:{PASSWORD}@127.0.0.1:{port}/x")
        looks = 0
        started = time.monotonic()
        while time.monotonic() - started < 3:
            looks += 200
            await asyncio.gather(*(refused(lambda: names(record)) for _ in range(200)))
            await asyncio.sleep(0.02)
        assert looks >= 600
        assert connections <= 8 + 4 * 4  # those that were on their way when it was found out, and then one at a time
        await record.close()
        server.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda url: url.replace(PASSWORD, "not-the-password"), "password authentication failed"),
        (lambda url: url.replace("/postgres", "/nothing-here"), 'database "nothing-here" does not exist'),
        (lambda url: "postgresql://burgee:not-the-password@127.0.0.1:1/x", "connect call failed"),
        (lambda url: "postgresql://burgee:not-the-password@no-such-host.invalid/x", "no"),
    ],
)
def test_what_refuses_is_named_without_the_password(
    postgres_server: PostgresServer, wrong: Callable[[str], str], says: str
) -> None:
    async def run() -> None:
        record = await open_record(wrong(postgres_server.url))
        error = await refused(lambda: names(record))
        assert says in str(error)
        assert "not-the-password" not in "".join(traceback.format_exception(error))
        await record.close()

    asyncio.run(run())


def test_what_the_body_raises_comes_through_and_undoes_it(url: str) -> None:
    async def run() -> None:
        record = await open_record(url)
        for _ in range(20):  # more often than there are connections
            with pytest.raises(FileNotFoundError):
                async with record.change() as tx:
                    await put_value(tx, "undone", "")
                    raise FileNotFoundError("the body's own")
            with pytest.raises(IntegrityError) as caught:
                async with record.change() as tx:
                    await tx.execute(insert(instance), [{"name": "twice", "value": "a-secret"}] * 2)
            assert "a-secret" not in str(caught.value)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01), record.change() as tx:
                    await put_value(tx, "undone", "")
                    await asyncio.sleep(10)
        assert not await names(record) & {"undone", "twice"}
        await write(record, "done")
        await record.close()

    asyncio.run(run())


def test_nothing_is_written_while_looking(postgres_url: str) -> None:
    async def run() -> None:
        record = await open_migrated(postgres_url)
        with pytest.raises(Exception, match="read-only transaction"):
            async with record.look() as tx:
                await put_value(tx, "written", "")
        await record.close()

    asyncio.run(run())


def test_a_look_sees_one_moment(url: str) -> None:
    async def run() -> None:
        record = await open_record(url)
        async with record.look() as tx:
            before = (await tx.scalars(select(instance.c.name))).all()
            await write(record, "meanwhile")
            assert (await tx.scalars(select(instance.c.name))).all() == before
        assert "meanwhile" in await names(record)
        await record.close()

    asyncio.run(run())


def test_the_file_is_open_to_nobody_else(tmp_path: Path) -> None:
    async def run() -> None:
        record = await open_migrated(f"sqlite:///{tmp_path}/new/record.db")
        await write(record, "a")
        for each in (tmp_path / "new").iterdir():
            assert stat.S_IMODE(each.stat().st_mode) == 0o600, each
        await record.close()

    asyncio.run(run())


@pytest.mark.parametrize("file", ["a-folder", "a-text"])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, file: str) -> None:
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "a-text").write_text("not a database, " * 100)

    async def run() -> None:
        await open_migrated(f"sqlite:///{tmp_path / file}")

    with pytest.raises(RecordError, match=r"is a directory|file is not a database"):
        asyncio.run(run())


def test_a_full_disk_undoes_the_change(url: str) -> None:
    """SQLite's own limit on pages is as good as a full disk."""

    async def run() -> None:
        record = await open_record(url)
        if not record.is_sqlite:
            return await record.close()
        with pytest.raises(RecordUnavailableError, match="full"):
            async with record.change() as tx:
                await tx.execute(text("PRAGMA max_page_count = 100"))
                await put_value(tx, "large", os.urandom(1_000_000).hex())
        assert "large" not in await names(record)
        await record.close()

    asyncio.run(run())
