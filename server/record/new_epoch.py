"""What was live in a backup becomes newer than whatever hosts have (ADR 0014).

    environment    version 9, live 7, pinned at 7
    becomes        version epoch * 1_000_000_000 + 2, live … + 1, pinned at … + 1

Each of those is a version of its own, of kind `restore`: the document of the old one, compiled again, since a snapshot
has its number in it. Every project gets a number of the new epoch too, so that hosts take its record. What a canary
tried is not live: it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Row, insert, select, update

from engine import Snapshot
from rules_compiler import CompileError, compile_flags
from server.diagnostics import summary_of
from server.record.audit import SYSTEM, note
from server.record.backup_file import BackupError
from server.record.database import Transaction, next_number
from server.record.projects import touch
from server.record.tables import canaries, drafts, environments, projects, tenants, versions
from server.record.versions import document_of, is_held, store_snapshot
from server.types import EnvironmentId, ProjectId

Progress = Callable[[str, int, int], None]  # what is done now, how many are done, of how many


async def begin_versions(tx: Transaction, epoch: int, progress: Progress) -> int:
    """How many were made. Raises BackupError where one does not compile any more."""
    query = (
        select(environments)
        .join(projects, (projects.c.tenant == environments.c.tenant) & (projects.c.name == environments.c.project))
        .join(tenants, tenants.c.name == environments.c.tenant)
        .where(environments.c.deleted_at.is_(None), projects.c.deleted_at.is_(None), tenants.c.deleted_at.is_(None))
        .where(environments.c.version > 0)
        .order_by(environments.c.tenant, environments.c.project, environments.c.name)
    )
    rows = (await tx.execute(query)).all()
    await tx.execute(canaries.delete())
    made = 0
    for done, row in enumerate(rows):
        environment = EnvironmentId(row.tenant, row.project, row.name)
        progress(f"compiling {environment}", done, len(rows))
        made += await _begin_versions_of(tx, environment, row, epoch)
    told = select(projects.c.tenant, projects.c.name).where(projects.c.number > 0)
    for tenant, project in (await tx.execute(told.order_by(projects.c.tenant, projects.c.name))).all():
        await touch(tx, ProjectId(tenant, project))
    return made


async def _begin_versions_of(tx: Transaction, environment: EnvironmentId, row: Row[Any], epoch: int) -> int:
    wanted = {row.live_version, row.pinned_version or 0}
    if not row.live_version or await is_held(tx, environment):
        wanted.add(row.version)  # it waits to be live
    number, numbers = row.version, {}
    for old in sorted(wanted - {0}):
        number = numbers[old] = next_number(epoch, number)
        await _publish_again(tx, environment, old, number)
    values = {
        "version": number,
        "live_version": numbers.get(row.live_version, 0),
        "pinned_version": numbers.get(row.pinned_version),
    }
    here = (environments.c.tenant == environment.tenant) & (environments.c.project == environment.project)
    await tx.execute(update(environments).where(here, environments.c.name == environment.environment).values(**values))
    if row.version in numbers:  # candidates that were made against it are as good as before
        ours = (drafts.c.tenant == environment.tenant) & (drafts.c.project == environment.project)
        await tx.execute(
            update(drafts)
            .where(ours, drafts.c.environment == environment.environment)
            .where(drafts.c.base == row.version, drafts.c.state.in_(["open", "scheduled"]))
            .values(base=numbers[row.version])
        )
    return len(numbers)


async def _publish_again(tx: Transaction, environment: EnvironmentId, old: int, number: int) -> None:
    here = (versions.c.tenant == environment.tenant) & (versions.c.project == environment.project)
    query = select(versions).where(here, versions.c.environment == environment.environment, versions.c.number == old)
    row = (await tx.execute(query)).one()
    blob = await _compile(tx, environment, row.document, number)
    digest = Snapshot.from_bytes(blob).digest
    await store_snapshot(tx, environment.project_id, digest, blob)
    same = {name: row._mapping[name] for name in ("tenant", "project", "environment", "document", "flags", "message")}
    await tx.execute(
        insert(versions).values(
            **same,
            number=number,
            kind="restore",
            origin=str(old),
            snapshot=digest,
            size=len(blob),
            created_at=round(time.time(), 3),
            created_by=SYSTEM.name,
        )
    )
    details = {"version": number, "document": row.document, "snapshot": digest, "origin": str(old)}
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
