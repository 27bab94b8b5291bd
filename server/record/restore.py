"""A backup becomes the record of a database, and hosts are made to take it.

    await restore(record, Path("burgee.backup"))  ->  Restored(header=…, epoch=471_337, versions=12)

Hosts order what they are told by numbers, and may have newer ones than the backup. So a new epoch begins
(server/record/new_epoch.py), unless `keep_epoch` leaves all numbers as they are: for a database that moves and has lost
nothing.

INVARIANT: it is one transaction: the database is restored, or as it was before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert, inspect, select

from server.record.audit import INSTANCE, SYSTEM, note
from server.record.backup import kept_tables
from server.record.backup_file import BackupError, Header, read_header, read_rows
from server.record.database import Record, RecordError, Transaction, begin_epoch, epoch_of
from server.record.new_epoch import begin_versions
from server.record.schema import make_anew, missing_of, revision_of
from server.record.tables import instance, metadata

Progress = Callable[[str, int, int], None]  # what is done now, how many are done, of how many


@dataclass(frozen=True, slots=True)
class Restored:
    header: Header
    epoch: int
    versions: int  # of the new epoch


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
        count = await begin_versions(tx, epoch, progress)
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
