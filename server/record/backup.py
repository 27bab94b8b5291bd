"""All of the record into one file, of one moment, while it is used.

    await back_up(record, Path("burgee.backup"))  ->  Header(schema="0002", epoch=0, counts={"tenants": 3, …}, …)

What only passes through is left out: whom to tell, what hosts said last, and answers kept for repeated requests, which
may hold keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import Table, func, select

from server.record.backup_file import FORMAT, Header, writing
from server.record.database import Record, epoch_of
from server.record.schema import newest_revision, require_schema
from server.record.tables import metadata

PASSING: Final = frozenset({"outbox", "hosts", "idempotency"})
_PAGE: Final = 200  # rows read at once

Progress = Callable[[str, int, int], None]  # what is done now, rows done, of how many


def kept_tables() -> list[Table]:
    """In the order of their references."""
    return [each for each in metadata.sorted_tables if each.name not in PASSING]


async def back_up(record: Record, path: Path, progress: Progress = lambda what, done, total: None) -> Header:
    """Raises RecordError, OSError; there is no file then, or the one that was there before."""
    async with record.look() as tx:
        await require_schema(tx)
        tables = kept_tables()
        header = Header(
            format=FORMAT,
            schema=newest_revision(),
            epoch=await epoch_of(tx),
            created_at=round(time.time(), 3),
            columns={str(table.name): [str(each.name) for each in table.columns] for table in tables},
            counts={str(table.name): await tx.scalar(select(func.count()).select_from(table)) or 0 for table in tables},
        )
        done, total = 0, sum(header.counts.values())
        with writing(path) as writer:
            writer.header(header)
            for table in tables:
                ordered = select(table).order_by(*table.primary_key.columns)
                async with tx.stream(ordered.execution_options(yield_per=_PAGE)) as result:
                    async for rows in result.partitions():
                        writer.rows(str(table.name), [list(row) for row in rows])
                        done += len(rows)
                        progress(table.name, done, total)
    return header
