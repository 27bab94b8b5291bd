"""Whose rows a change of many things locks, and in which order: that of every publish.

await lock_tree(tx, "shop", "web")       environments of shop/web, then the project; the tenant's is `note`'s, last
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, select, true

from server.record.database import Transaction
from server.record.tables import environments, projects


async def lock_tree(tx: Transaction, tenant: str = "", project: str = "", environment: str = "") -> None:
    """All of the instance where nothing is named; rows of what was deleted too.

    INVARIANT: environments, then projects, then the tenant, each in the order of names: as every publish does.
    """
    columns = environments.c
    names = (columns.tenant, columns.project, columns.name)
    here = _named((columns.tenant, tenant), (columns.project, project), (columns.name, environment))
    await tx.execute(select(*names).where(here).order_by(*names).with_for_update(key_share=True))
    if not environment:
        here = _named((projects.c.tenant, tenant), (projects.c.name, project))
        rows = select(projects.c.name).where(here).order_by(projects.c.tenant, projects.c.name)
        await tx.execute(rows.with_for_update(key_share=True))


def _named(*pairs: tuple[ColumnElement[str], str]) -> ColumnElement[bool]:
    return and_(true(), *(column == name for column, name in pairs if name))
