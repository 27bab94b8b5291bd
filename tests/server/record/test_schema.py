"""Migrations make the schema of tables.py, once, and refuse what they do not know."""

from __future__ import annotations

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from server.record.audit import note
from server.record.database import RecordError, open_record
from server.record.schema import Fault, check, context_of, migrate, newest_revision, open_migrated
from server.record.tables import audit, instance, metadata
from tests.server.record.rows import ALICE, PRODUCTION, add_environments, publish
from tests.services import PostgresServer


def test_migrations_make_what_tables_has(url: str) -> None:
    async def differences() -> object:
        record = await open_record(url)
        async with record.look() as tx:
            found = await tx.run_sync(lambda connection: compare_metadata(context_of(connection), metadata))
        await record.close()
        return found

    assert asyncio.run(differences()) == [], "python -m server.record.next_revision prints the revision to add"


def test_a_migration_says_how_far_it_is_and_is_done_once(database_url: str) -> None:
    async def run() -> None:
        record = await open_record(database_url)
        said: list[tuple[str, int, int]] = []
        done = await migrate(record, lambda *heard: said.append(heard))
        assert done[:2] == ("0001", "0002") and done[-1] == newest_revision()
        assert [(number, total) for _, number, total in said] == [(n, len(done)) for n in range(len(done) + 1)]
        assert "first schema" in said[0][0]
        assert await migrate(record) == ()
        assert await check(record) == ()
        await record.close()

    asyncio.run(run())


def test_many_processes_migrate_one_database_once(database_url: str) -> None:
    async def run() -> None:
        records = await asyncio.gather(*(open_migrated(database_url) for _ in range(6)))
        async with records[0].look() as tx:
            assert (await tx.execute(text("SELECT version_num FROM alembic_version"))).all() == [(newest_revision(),)]
        for each in records:
            await each.close()

    asyncio.run(run())


def test_a_newer_schema_is_refused_and_a_missing_one_is_found(database_url: str) -> None:
    async def run() -> None:
        record = await open_record(database_url)
        assert [each.code for each in await check(record)] == ["SCHEMA_OLD"]
        await migrate(record)
        async with record.change() as tx:
            await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        assert [each.code for each in await check(record)] == ["SCHEMA_NEWER"]
        with pytest.raises(RecordError, match="schema 9999, this program knows schemas up to"):
            await migrate(record)
        await record.close()
        with pytest.raises(RecordError, match="newer Burgee"):
            await open_migrated(database_url)

    asyncio.run(run())


def test_a_migration_that_fails_leaves_nothing(database_url: str) -> None:
    async def run() -> None:
        record = await open_record(database_url)
        async with record.change() as tx:
            await tx.execute(text("CREATE TABLE webhooks (of_somebody_else INTEGER)"))
        with pytest.raises(DBAPIError):
            await migrate(record)
        async with record.change() as tx:
            await tx.execute(text("DROP TABLE webhooks"))
        assert (await migrate(record))[0] == "0001"
        await record.close()

    asyncio.run(run())


@pytest.mark.parametrize("table", ["audit", "versions"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET number = number + 1", "DELETE FROM {}"])
def test_the_database_refuses_to_change_history(url: str, table: str, statement: str) -> None:
    async def run() -> None:
        record = await open_record(url)
        async with record.change() as tx:
            await add_environments(tx, PRODUCTION)
            await note(tx, ALICE, "tenant.create", "shop", {}, tenant="shop")
        await publish(record, PRODUCTION, "classic")
        with pytest.raises(DBAPIError, match=f"rows of {table} stay as they are"):
            async with record.change() as tx:
                await tx.execute(text(statement.format(table)))
        async with record.look() as tx:
            assert (await tx.scalars(select(audit.c.number).order_by(audit.c.number))).all() == [1, 2]
        await record.close()

    asyncio.run(run())


def test_a_damaged_file_is_found(tmp_path: object) -> None:
    async def run() -> None:
        record = await open_migrated(f"sqlite:///{tmp_path}/record.db")
        async with record.change() as tx:
            rows = [{"name": f"n{number}", "value": "x" * 100} for number in range(500)]
            await tx.execute(insert(instance), rows)
        await record.close()
        with open(f"{tmp_path}/record.db", "r+b") as file:
            content = bytearray(file.read())
            page = content.index(b"n250") // 4096 * 4096
            content[page : page + 8] = bytes(8)
            file.seek(0)
            file.write(content)
        record = await open_record(f"sqlite:///{tmp_path}/record.db")
        assert "DAMAGED" in {each.code for each in await check(record)}
        await record.close()

    asyncio.run(run())


def test_settings_of_postgres_that_lose_data_are_found() -> None:
    async def run(url: str) -> tuple[Fault, ...]:
        record = await open_migrated(url)
        found = await check(record)
        await record.close()
        return found

    with PostgresServer(fsync="off", synchronous_commit="off", full_page_writes="off") as server:
        found = asyncio.run(run(server.new_database()))
    assert [each.code for each in found] == ["UNSAFE_SETTING"] * 3
    assert "`fsync` is off: a power cut can destroy the database" in found[0].message
