"""What the record says at the end, read from the database itself.

recorded("sqlite:////…/record.db", "shop/web", "production")
    Recorded(generations={1: 1, 2: 2}, audited=[1, 2], audit_faults=[])         version -> generation
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from sqlalchemy import select

from server.record.audit import hash_of
from server.record.database import open_record
from server.record.tables import audit, tenants, versions
from server.record.versions import document_of
from server.sync.messages import project_named


@dataclass(frozen=True)
class Recorded:
    generations: dict[int, int]
    audited: list[int]
    audit_faults: list[str]


_known: dict[str, int] = {}  # digests of documents -> generations: a document never changes


def recorded(database: str, project: str, environment: str) -> Recorded:
    """Raises RecordError."""
    return asyncio.run(_recorded(database, project, environment))


async def _recorded(database: str, project: str, environment: str) -> Recorded:
    identity = project_named(project)
    assert identity is not None
    record = await open_record(database)
    try:
        async with record.look() as tx:
            rows = await tx.execute(
                select(versions.c.number, versions.c.document).where(
                    versions.c.tenant == identity.tenant,
                    versions.c.project == identity.project,
                    versions.c.environment == environment,
                )
            )
            generations = {}
            for row in rows.all():
                if row.document not in _known:
                    content = await document_of(tx, identity, row.document)
                    assert content is not None, f"version {row.number} has no document"
                    _known[row.document] = json.loads(content)["flags"]["plain-0"]["variants"]["v"]
                generations[row.number] = _known[row.document]
            chain = await tx.execute(select(audit).where(audit.c.tenant == identity.tenant).order_by(audit.c.number))
            audited, faults, head = [], [], ""
            for number, row in enumerate(chain.all(), start=1):
                here = (row.tenant, row.number, row.at, row.actor, row.action, row.target, row.details)
                if row.number != number or row.previous != head or row.hash != hash_of(head, *here):
                    faults.append(f"row {row.number} of the audit does not fit the one before")
                head = row.hash
                details = json.loads(row.details)
                if row.target == f"{project}/{environment}" and "version" in details and "snapshot" in details:
                    audited.append(details["version"])
            newest = await tx.scalar(select(tenants.c.audit_head).where(tenants.c.name == identity.tenant))
            if newest != head:
                faults.append("the tenant's head is not the hash of the last row")
            return Recorded(generations, audited, faults)
    finally:
        await record.close()
