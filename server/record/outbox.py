"""The outbox: projects whose hosts are to be told of a change, until somebody has.

    await look_into(tx, 100)            Outbox(waiting=(Waiting(7, ProjectId("shop", "web"), 18),), count=1, oldest=…)
    await take_out(tx, [7])
    await forget_old(record)            until cancelled, where nobody relays

`server.record.projects.touch` puts them in. Whoever takes one out has told of it; two may tell of the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import delete, func, select

from server.record.database import Record, RecordUnavailableError, Transaction
from server.record.tables import outbox
from server.types import ProjectId

OLD: Final = 3600.0  # seconds
LOOK_EVERY: Final = 60.0  # seconds


class Waiting(NamedTuple):
    id: int
    project: ProjectId
    number: int


@dataclass(frozen=True, slots=True)
class Outbox:
    waiting: tuple[Waiting, ...]  # the oldest of them
    count: int  # of all
    oldest: float | None  # seconds since the epoch


async def look_into(tx: Transaction, most: int) -> Outbox:
    count, oldest = (await tx.execute(select(func.count(), func.min(outbox.c.at)).select_from(outbox))).one()
    rows = await tx.execute(select(outbox).order_by(outbox.c.id).limit(most)) if count else ()
    return Outbox(tuple(Waiting(row.id, ProjectId(row.tenant, row.project), row.number) for row in rows), count, oldest)


async def take_out(tx: Transaction, ids: Iterable[int]) -> None:
    await tx.execute(delete(outbox).where(outbox.c.id.in_(list(ids))))


async def forget_old(record: Record) -> None:
    """For a control plane without Redis: nothing is lost, since a relay that begins compares all there is."""
    while True:
        try:
            async with record.change() as tx:
                await tx.execute(delete(outbox).where(outbox.c.at < time.time() - OLD))
        except RecordUnavailableError:
            pass  # others say so
        await asyncio.sleep(LOOK_EVERY)
