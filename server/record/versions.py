"""Versions of an environment: committed once, never changed, each with its document and its snapshot.

    await commit_version(tx, EnvironmentId("shop", "web", "production"), expected=17, candidate=Candidate(…), by=actor)

becomes version 18, live on every host that is not held, or raises StaleError where 17 is not the newest any more.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import zstandard
from sqlalchemy import ColumnElement, Table, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from server.record.audit import Actor, note
from server.record.canaries import Plan, begin_canary, end_canary
from server.record.database import Transaction, epoch_of, is_paused, next_number
from server.record.projects import touch
from server.record.tables import documents, environments, projects, snapshots, tenants, versions
from server.types import EnvironmentId, ProjectId

LEVEL = 3  # of zstd
LARGEST = 1 << 28  # bytes that anything stored may expand to


class StaleError(Exception):
    """What a change was made against is not the newest any more."""

    def __init__(self, newest: int) -> None:
        super().__init__(newest)
        self.newest = newest


@dataclass(frozen=True, slots=True)
class Candidate:
    """What becomes a version: compiled, and good. The snapshot is compiled with the number the version will have."""

    number: int
    document: bytes  # canonical JSON
    document_digest: str  # SHA-256, hexadecimal
    snapshot: bytes
    snapshot_digest: str  # as the engine says
    flags: int
    kind: str = "publish"
    origin: str = ""
    draft: str = ""
    message: str = ""


async def next_version(tx: Transaction, environment: EnvironmentId) -> tuple[int, int]:
    """The newest version there is, 0 for none, and the number of the next. Raises LookupError."""
    newest = await tx.scalar(select(environments.c.version).where(_is(environment)))
    if newest is None:
        raise LookupError(f"there is no environment `{environment}`")
    return newest, next_number(await epoch_of(tx), newest)


async def commit_version(
    tx: Transaction,
    environment: EnvironmentId,
    *,
    expected: int,
    candidate: Candidate,
    by: Actor,
    canary: Plan | None = None,
) -> bool:
    """Whether hosts are to serve it: not where its environment, or anything above it, is held. Raises StaleError.

    With a `canary` it goes to some workers of each host first, where there is a version for the others.

    INVARIANT: numbers of an environment are dense within an epoch, and in the order of commits: the row is locked.
    """
    changed = await tx.execute(
        update(environments)
        .where(_is(environment), environments.c.version == expected, environments.c.deleted_at.is_(None))
        .values(version=candidate.number)
    )
    if changed.rowcount != 1:
        newest = await tx.scalar(select(environments.c.version).where(_is(environment)))
        raise StaleError(newest or 0)
    await store_document(tx, environment.project_id, candidate.document_digest, candidate.document)
    await store_snapshot(tx, environment.project_id, candidate.snapshot_digest, candidate.snapshot)
    await tx.execute(
        insert(versions).values(
            tenant=environment.tenant,
            project=environment.project,
            environment=environment.environment,
            number=candidate.number,
            kind=candidate.kind,
            origin=candidate.origin,
            document=candidate.document_digest,
            snapshot=candidate.snapshot_digest,
            size=len(candidate.snapshot),
            flags=candidate.flags,
            draft=candidate.draft,
            message=candidate.message,
            created_at=round(time.time(), 3),
            created_by=by.name,
        )
    )
    held = await is_held(tx, environment)
    if not held:
        if canary is None or not await begin_canary(tx, environment, candidate.number, canary):
            await end_canary(tx, environment)
            await tx.execute(update(environments).where(_is(environment)).values(live_version=candidate.number))
            canary = None
        await touch(tx, environment.project_id)
    await note(
        tx,
        by,
        f"environment.{candidate.kind}",
        str(environment),
        {
            "version": candidate.number,
            "document": candidate.document_digest,
            "snapshot": candidate.snapshot_digest,
            "origin": candidate.origin,
            "message": candidate.message,
            "held": held,
            **({"canary": canary.share} if canary and not held else {}),
        },
        tenant=environment.tenant,
    )
    return not held


async def is_held(tx: Transaction, environment: EnvironmentId) -> bool:
    """Do its hosts stay at what they have: paused globally, by tenant, by project or itself, or pinned?"""
    if await is_paused(tx):
        return True
    row = (
        await tx.execute(
            select(tenants.c.paused, projects.c.paused, environments.c.paused, environments.c.pinned_version)
            .join_from(tenants, projects, projects.c.tenant == tenants.c.name)
            .join(
                environments,
                (environments.c.tenant == projects.c.tenant) & (environments.c.project == projects.c.name),
            )
            .where(_is(environment))
        )
    ).one()
    return row[0] or row[1] or row[2] or row[3] is not None


async def store_document(tx: Transaction, project: ProjectId, digest: str, content: bytes) -> None:
    await _put(tx, documents, project, digest, content)


async def store_snapshot(tx: Transaction, project: ProjectId, digest: str, content: bytes) -> None:
    await _put(tx, snapshots, project, digest, content)


async def document_of(tx: Transaction, project: ProjectId, digest: str) -> bytes | None:
    return await _get(tx, documents, project, digest)


async def snapshot_of(tx: Transaction, project: ProjectId, digest: str) -> bytes | None:
    return await _get(tx, snapshots, project, digest)


async def _put(tx: Transaction, table: Table, project: ProjectId, digest: str, content: bytes) -> None:
    """Nothing where it is there already: it has the same digest."""
    make = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    packed = zstandard.compress(content, LEVEL)
    row = make(table).values(tenant=project.tenant, project=project.project, digest=digest, content=packed)
    await tx.execute(row.on_conflict_do_nothing())


async def _get(tx: Transaction, table: Table, project: ProjectId, digest: str) -> bytes | None:
    here = (table.c.tenant == project.tenant) & (table.c.project == project.project) & (table.c.digest == digest)
    packed = await tx.scalar(select(table.c.content).where(here))
    return unpacked(packed) if packed is not None else None


def unpacked(content: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(content, max_output_size=LARGEST)


def _is(environment: EnvironmentId) -> ColumnElement[bool]:
    return (
        (environments.c.tenant == environment.tenant)
        & (environments.c.project == environment.project)
        & (environments.c.name == environment.environment)
    )
