"""What hosts are told of a project, and when: its record (server/state/records.py) out of the rows.

number = await touch(tx, ProjectId("shop", "web"))        in the transaction of any change that hosts must know
await record_of(tx, ProjectId("shop", "web"))             ProjectRecord("shop", "web", environments=(…), version=18)
"""

from __future__ import annotations

import time

import msgspec
from sqlalchemy import insert, or_, select, update

from server.record.canaries import running_canaries
from server.record.database import Transaction, epoch_of, next_number
from server.record.tables import environments, keys, outbox, projects, versions
from server.state.records import KeyGrant, ProjectRecord, Published
from server.types import KeyKind, ProjectId

SUBJECT_TO_PROJECTS = (KeyKind.SERVER, KeyKind.CLIENT, KeyKind.EDGE)  # kinds of keys that hosts know


async def touch(tx: Transaction, project: ProjectId) -> int:
    """Its next number, which its hosts will be told; its row is locked until the transaction ends."""
    here = (projects.c.tenant == project.tenant) & (projects.c.name == project.project)
    last = await tx.scalar(select(projects.c.number).where(here).with_for_update(key_share=True))
    if last is None:
        raise LookupError(f"there is no project `{project}`")
    number = next_number(await epoch_of(tx), last)
    await tx.execute(update(projects).where(here).values(number=number))
    await tx.execute(
        insert(outbox).values(tenant=project.tenant, project=project.project, number=number, at=time.time())
    )
    return number


async def number_of(tx: Transaction, project: ProjectId) -> int:
    """The newest that hosts are to be told; 0: nothing."""
    here = (projects.c.tenant == project.tenant) & (projects.c.name == project.project)
    return await tx.scalar(select(projects.c.number).where(here)) or 0


async def listing(tx: Transaction) -> dict[ProjectId, int]:
    """Every project that hosts were ever told of, deleted ones too, with its number."""
    rows = await tx.execute(select(projects.c.tenant, projects.c.name, projects.c.number).where(projects.c.number > 0))
    return {ProjectId(row.tenant, row.name): row.number for row in rows}


async def record_of(tx: Transaction, project: ProjectId) -> ProjectRecord | None:
    """None where there never was such a project. Of a deleted one: nothing but its number."""
    here = (projects.c.tenant == project.tenant) & (projects.c.name == project.project)
    row = (await tx.execute(select(projects.c.number, projects.c.deleted_at).where(here))).one_or_none()
    if row is None:
        return None
    if row.deleted_at is not None:
        return ProjectRecord(*project, version=row.number)
    published, origins, names = await _environments_of(tx, project)
    return ProjectRecord(
        *project,
        environments=published,
        keys=await _keys_of(tx, project, names),
        origins=origins,
        version=row.number,
        canaries=await running_canaries(tx, project, published),
    )


async def _environments_of(
    tx: Transaction, project: ProjectId
) -> tuple[tuple[Published, ...], dict[str, tuple[str, ...]], tuple[str, ...]]:
    rows = await tx.execute(
        select(environments.c.name, environments.c.settings, versions)
        .join_from(
            environments,
            versions,
            (versions.c.tenant == environments.c.tenant)
            & (versions.c.project == environments.c.project)
            & (versions.c.environment == environments.c.name)
            & (versions.c.number == environments.c.live_version),
            isouter=True,
        )
        .where(
            environments.c.tenant == project.tenant,
            environments.c.project == project.project,
            environments.c.deleted_at.is_(None),
        )
        .order_by(environments.c.place)
    )
    published, origins, names = [], {}, []
    for row in rows:
        names.append(row.name)
        if allowed := msgspec.json.decode(row.settings).get("origins"):
            origins[row.name] = tuple(allowed)
        if row.number is not None:
            published.append(Published(row.name, row.number, row.snapshot, row.size, row.flags, row.created_at))
    return tuple(published), origins, tuple(names)


async def _keys_of(tx: Transaction, project: ProjectId, names: tuple[str, ...]) -> tuple[KeyGrant, ...]:
    """Those that open this one project: keys of a whole tenant or of all are known to control planes only."""
    rows = await tx.execute(
        select(keys)
        .where(
            keys.c.tenant == project.tenant,
            keys.c.project == project.project,
            keys.c.kind.in_([str(kind) for kind in SUBJECT_TO_PROJECTS]),
            keys.c.revoked_at.is_(None),
            or_(keys.c.expires_at.is_(None), keys.c.expires_at > time.time()),
        )
        .order_by(keys.c.selector)
    )
    grants = []
    for row in rows:
        named = msgspec.json.decode(row.environments)
        open_to = tuple(name for name in names if not named or name in named)
        if open_to:
            digest = bytes.fromhex(row.digest)
            grants.append(KeyGrant(digest, row.selector, KeyKind(row.kind), open_to, row.expires_at))
    return tuple(grants)
