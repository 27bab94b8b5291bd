"""The outbox: projects whose hosts are to be told of a change, until somebody has.

    await look_into(tx, 100)            Outbox(waiting=(Waiting(7, ProjectId("shop", "web"), 18),), count=1, oldest=…)
    await take_out(tx, [7])

`server.record.projects.touch` puts them in. Whoever takes one out has told of it; two may tell of the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import delete, func, select

from server.record.database import Transaction
from server.record.tables import outbox
from server.types import ProjectId


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
