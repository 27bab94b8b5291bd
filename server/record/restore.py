"""A backup becomes the record of a database, and hosts are made to take it.

    await restore(record, Path("burgee.backup"))  ->  Restored(header=…, epoch=471_337, environments=12)

Hosts order what they are told by numbers, and may have newer ones than the backup. So a new epoch begins (ADR 0014):
what was live is compiled again as version `epoch * 1_000_000_000 + 1`, kind `restore`, and each project gets a number
of the new epoch. `keep_epoch` leaves all numbers as they are, for a database that moves and has lost nothing.

INVARIANT: it is one transaction: the database is restored, or as it was before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Row, insert, inspect, select, update

from engine import Snapshot
from rules_compiler import CompileError, compile_flags
from server.diagnostics import summary_of
from server.record.audit import INSTANCE, SYSTEM, note
from server.record.backup import kept_tables
from server.record.backup_file import BackupError, Header, read_header, read_rows
from server.record.database import Record, RecordError, Transaction, begin_epoch, epoch_of, next_number
from server.record.projects import touch
from server.record.schema import make_anew, missing_of, revision_of
from server.record.tables import drafts, environments, instance, metadata, projects, tenants, versions
from server.record.versions import document_of, store_snapshot
from server.types import EnvironmentId, ProjectId

Progress = Callable[[str, int, int], None]  # what is done now, how many are done, of how many


@dataclass(frozen=True, slots=True)
class Restored:
    header: Header
    epoch: int
    environments: int  # that have a version of the new epoch


async def restore(
    record: Record,
    path: Path,
    *,
    replace: bool = False,
    keep_epoch: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Restored:
    """Raises BackupError for the file, RecordError for the database, OSError."""
    header = _checked(path, progress)
    async with record.change() as tx:
        lost_epoch = await _make_room(tx, replace=replace)
        await _insert_all(tx, header, path, progress)
        if keep_epoch:
            return Restored(header, await epoch_of(tx), 0)
        epoch = await begin_epoch(tx, above=lost_epoch)
        count = await _begin_versions(tx, epoch, progress)
        await note(tx, SYSTEM, "record.restore", "", {"epoch": epoch, "from": header.created_at}, tenant=INSTANCE)
    return Restored(header, epoch, count)


def _checked(path: Path, progress: Progress) -> Header:
    """Of a file that is whole, and that this program understands."""
    header = read_header(path)
    try:
        missing_of(header.schema)
    except RecordError:
        raise BackupError(f"the backup is of a newer Burgee, with schema {header.schema}") from None
    known = {table.name: set(table.columns.keys()) for table in kept_tables()}
    if any(not set(names) <= known.get(table, set()) for table, names in header.columns.items()):
        raise BackupError("the backup has tables that this program does not know")
    done, total = 0, sum(header.counts.values())
    for table, rows in read_rows(path):
        done += len(rows)
        progress(f"looking at {table}", done, total)
    return header


async def _make_room(tx: Transaction, *, replace: bool) -> int:
    """An empty database with the schema of this program. The epoch of what was there."""
    revision = await revision_of(tx)
    missing_of(revision)  # raises where it is newer
    epoch = 0
    if revision is None:
        there = await tx.run_sync(lambda connection: set(inspect(connection).get_table_names()))
        if taken := sorted(there & set(metadata.tables)):
            raise RecordError(f"the database has a table `{taken[0]}` that is not Burgee's")
    else:
        epoch = await epoch_of(tx)
        if not replace and await _has_rows(tx):
            raise RecordError("the database is not empty (hint: --replace drops what is in it)")
    await make_anew(tx)
    return epoch


async def _has_rows(tx: Transaction) -> bool:
    there = await tx.run_sync(lambda connection: set(inspect(connection).get_table_names()))
    for table in metadata.sorted_tables:  # of an older schema, some are not there
        if (
            table is not instance
            and table.name in there
            and (await tx.execute(select(table.primary_key.columns[0]).limit(1))).first()
        ):
            return True
    return False


async def _insert_all(tx: Transaction, header: Header, path: Path, progress: Progress) -> None:
    done, total = 0, sum(header.counts.values())
    for name, rows in read_rows(path):
        columns = header.columns[name]
        await tx.execute(insert(metadata.tables[name]), [dict(zip(columns, row, strict=True)) for row in rows])
        done += len(rows)
        progress(f"restoring {name}", done, total)


async def _begin_versions(tx: Transaction, epoch: int, progress: Progress) -> int:
    """What was live is live again, with a number that is newer than any that hosts can have. How many that are."""
    rows = (
        await tx.execute(
            select(environments.c.version, environments.c.pinned_version, versions)
            .join_from(
                environments,
                versions,
                (versions.c.tenant == environments.c.tenant)
                & (versions.c.project == environments.c.project)
                & (versions.c.environment == environments.c.name)
                & (versions.c.number == environments.c.live_version),
            )
            .join(projects, (projects.c.tenant == versions.c.tenant) & (projects.c.name == versions.c.project))
            .join(tenants, tenants.c.name == versions.c.tenant)
            .where(environments.c.deleted_at.is_(None), projects.c.deleted_at.is_(None), tenants.c.deleted_at.is_(None))
        )
    ).all()
    if "canaries" in metadata.tables:  # decided: what was live is
        await tx.execute(metadata.tables["canaries"].delete())
    for done, row in enumerate(rows):
        environment = EnvironmentId(row.tenant, row.project, row.environment)
        progress(f"compiling {environment}", done, len(rows))
        await _publish_again(tx, environment, row, next_number(epoch, row.version))
    told = select(projects.c.tenant, projects.c.name).where(projects.c.number > 0).order_by("tenant", "name")
    for tenant, project in (await tx.execute(told)).all():
        await touch(tx, ProjectId(tenant, project))
    return len(rows)


async def _publish_again(tx: Transaction, environment: EnvironmentId, row: Row[Any], number: int) -> None:
    blob = await _compile(tx, environment, row.document, number)
    digest = Snapshot.from_bytes(blob).digest
    await store_snapshot(tx, environment.project_id, digest, blob)
    same = {name: row._mapping[name] for name in ("tenant", "project", "environment", "document", "flags", "message")}
    await tx.execute(
        insert(versions).values(
            **same,
            number=number,
            kind="restore",
            origin=str(row.number),
            snapshot=digest,
            size=len(blob),
            created_at=round(time.time(), 3),
            created_by=SYSTEM.name,
        )
    )
    here = (environments.c.tenant == environment.tenant) & (environments.c.project == environment.project)
    pinned = {"pinned_version": number} if row.pinned_version is not None else {}
    await tx.execute(
        update(environments)
        .where(here, environments.c.name == environment.environment)
        .values(version=number, live_version=number, **pinned)
    )
    if row.version == row.number:  # candidates made against it are as good as before
        ours = (drafts.c.tenant == environment.tenant) & (drafts.c.project == environment.project)
        await tx.execute(
            update(drafts)
            .where(ours, drafts.c.environment == environment.environment)
            .where(drafts.c.base == row.number, drafts.c.state.in_(["open", "scheduled"]))
            .values(base=number)
        )
    details = {"version": number, "document": row.document, "snapshot": digest, "origin": str(row.number)}
    await note(tx, SYSTEM, "environment.restore", str(environment), details, tenant=environment.tenant)


async def _compile(tx: Transaction, environment: EnvironmentId, digest: str, number: int) -> bytes:
    document = await document_of(tx, environment.project_id, digest)
    if document is None:
        raise BackupError(f"the backup has no document of `{environment}`")
    try:
        return compile_flags(
            document, environment=environment.environment, version=number, flag_set_id=str(environment)
        )
    except CompileError as error:
        raise BackupError(
            f"what was live in `{environment}` does not compile: {summary_of(error.diagnostics)} "
            "(hint: --keep-epoch restores without compiling)"
        ) from None
