"""The schema of a database: made, brought up to date, and looked over.

    record = await open_migrated("sqlite:////var/lib/burgee/record.db")     an empty or an older one is migrated
    await migrate(record)                -> ("0001", "0002"), the revisions that were applied
    await check(record)                  -> (Fault("SCHEMA_OLD", "…", hint="burgee db migrate"),), or ()

Revisions are the files of `migrations/`. All that are missing are applied in one transaction, by one process at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

from server.record.database import Record, RecordError, Transaction, open_record
from server.record.tables import metadata

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x6275_7267_6565  # of Postgres, while the schema changes
_PATIENCE: Final = 60  # seconds for another process to migrate

Progress = Callable[[str, int, int], None]  # what is done now, how many are done, of how many


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a database."""

    code: str
    message: str
    hint: str


async def open_migrated(url: str) -> Record:
    """As `open_record`, with the schema of this program. Raises RecordError for a newer one."""
    patient = await open_record(url, patient=True)
    try:
        await migrate(patient)
    finally:
        await patient.close()
    return await open_record(url)


async def migrate(record: Record, progress: Progress = lambda what, done, total: None) -> tuple[str, ...]:
    """The revisions that were applied. Raises RecordError where the database is newer than this program."""
    async with record.look() as tx:
        if not missing_of(await revision_of(tx)):
            return ()
    async with record.change() as tx:
        await _lock(tx)
        missing = missing_of(await revision_of(tx))  # another process may have been first
        await tx.run_sync(_apply, missing, progress)
    return tuple(each.revision for each in missing)


async def make_anew(tx: Transaction) -> None:
    """Drops all there is, and makes the schema of this program."""
    await _lock(tx)
    await tx.run_sync(metadata.drop_all)
    await tx.execute(text("DROP TABLE IF EXISTS alembic_version"))
    await tx.run_sync(_apply, _revisions(), lambda what, done, total: None)


async def revision_of(tx: Transaction) -> str | None:
    """None: there is no schema yet."""
    found: str | None = await tx.run_sync(lambda connection: context_of(connection).get_current_revision())
    return found


def newest_revision() -> str:
    return _revisions()[-1].revision


def missing_of(revision: str | None) -> list[Script]:
    """What is to be applied to a database of this revision. Raises RecordError where it is newer than this program."""
    revisions = _revisions()
    if revision is None:
        return revisions
    known = [each.revision for each in revisions]
    if revision not in known:
        raise RecordError(
            f"the database has schema {revision}, this program knows schemas up to {known[-1]} "
            "(hint: run the newer Burgee that migrated it)"
        )
    return revisions[known.index(revision) + 1 :]


async def require_schema(tx: Transaction) -> None:
    """Raises RecordError where the database has not the schema of this program."""
    if missing_of(await revision_of(tx)):
        raise RecordError("the database has not the schema of this program (hint: burgee db migrate)")


async def check(record: Record) -> tuple[Fault, ...]:
    """Empty: nothing is wrong. Raises RecordUnavailableError."""
    async with record.look() as tx:
        faults = await _check_sqlite(tx) if record.is_sqlite else await _check_postgres(tx)
        return (*await _check_revision(tx), *faults)


def context_of(connection: Connection) -> MigrationContext:
    options = {"target_metadata": metadata, "compare_type": True, "compare_server_default": _is_other_default}
    return MigrationContext.configure(connection, opts=options)


def _is_other_default(
    context: MigrationContext, _: Any, __: Any, found: str | None, ___: Any, wanted: str | None
) -> bool | None:
    """None: as alembic compares them, which does not know an empty one of SQLite."""
    return (found or "").strip("()'") != (wanted or "") if context.dialect.name == "sqlite" else None


@functools.cache
def _script() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])


def _revisions() -> list[Script]:
    return list(_script().walk_revisions())[::-1]


def _apply(connection: Connection, missing: list[Script], progress: Progress) -> None:
    script = _script()

    def steps(revision: Any, _: MigrationContext) -> Any:
        for done, step in enumerate(script._upgrade_revs("head", revision)):
            progress(missing[done].doc.partition("\n")[0], done, len(missing))
            yield step

    options = {"script": script, "fn": steps, "target_metadata": metadata}
    context = MigrationContext.configure(connection, opts=options)
    with Operations.context(context):
        context.run_migrations()
    progress("done", len(missing), len(missing))


async def _lock(tx: Transaction) -> None:
    """Until the transaction ends. SQLite's own lock is held by any transaction that writes."""
    if tx.dialect.name != "sqlite":
        await tx.execute(text(f"SET LOCAL lock_timeout = '{_PATIENCE}s'"))
        await tx.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


async def _check_revision(tx: Transaction) -> tuple[Fault, ...]:
    revision = await revision_of(tx)
    try:
        missing = missing_of(revision)
    except RecordError as error:
        return (Fault("SCHEMA_NEWER", str(error).partition(" (hint")[0], "run the newer Burgee that migrated it"),)
    if not missing:
        return ()
    have = f"has schema {revision}, and this program needs {newest_revision()}" if revision else "has no schema yet"
    return (Fault("SCHEMA_OLD", f"the database {have}", "burgee db migrate"),)


async def _check_sqlite(tx: Transaction) -> tuple[Fault, ...]:
    try:
        found = [row[0] for row in await tx.execute(text("PRAGMA integrity_check(10)"))]
    except DatabaseError as error:
        found = [str(error.orig)]
    if found != ["ok"]:
        return tuple(Fault("DAMAGED", f"the file is damaged: {each}", "burgee restore") for each in found)
    orphans = sorted({row[0] for row in await tx.execute(text("PRAGMA foreign_key_check"))})
    return tuple(Fault("DAMAGED", f"rows of `{each}` belong to no other row", "burgee restore") for each in orphans)


async def _check_postgres(tx: Transaction) -> tuple[Fault, ...]:
    faults = []
    for name, lost in (
        ("fsync", "a power cut can destroy the database"),
        ("synchronous_commit", "a crash can lose what was acknowledged"),
        ("full_page_writes", "a power cut can destroy the database"),
    ):
        if await tx.scalar(text(f"SHOW {name}")) == "off":
            faults.append(Fault("UNSAFE_SETTING", f"`{name}` is off: {lost}", f"{name} = on in postgresql.conf"))
    return tuple(faults)
