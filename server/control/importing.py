"""A folder of tenants into an empty record: `burgee serve --import FOLDER`.

    tenants/shop/web.yaml        ->  tenant, project, environments, the working copy, version 1 of each environment
    tenants/shop/web.keys.yaml   ->  keys, by their digests, and origins: the keys that people have go on working

A record that has a tenant is left alone. One transaction for each project, and a note until all are there: what is
killed halfway goes on where it was. A document that does not compile is logged and passed over, and so is a key that
another project's file has too.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import msgspec
import structlog
from sqlalchemy import insert, or_, select
from sqlalchemy.exc import IntegrityError

from engine import Snapshot
from rules_compiler.diagnostics import Report
from rules_compiler.reading import read
from server.record.audit import Actor, note
from server.record.database import Record, Transaction, drop_value, epoch_of, next_number, put_value, value_of
from server.record.definitions import Edits, Kind, canonical_json, joined, replace_all
from server.record.tables import environments, keys, projects, tenants
from server.record.versions import Candidate, commit_version
from server.sources import key_file
from server.sources.compiling import Compiler, Refused
from server.sources.environments import environments_of
from server.sources.folder import Sources, scan
from server.sources.key_file import KeyFile, KeyRecord
from server.sources.watcher import Progress
from server.types import EnvironmentId, KeyKind, ProjectId

BY = Actor("import")
_UNDER_WAY = "importing"  # in `instance`, until all are there


async def fill(record: Record, folder: Path, compiler: Compiler, progress: Progress | None = None) -> int:
    """How many projects came. Raises OSError where the folder cannot be read, RecordUnavailableError."""
    log = structlog.get_logger("import")
    listing = await asyncio.to_thread(scan, folder)
    async with record.change() as tx:
        if await tx.scalar(select(tenants.c.name).limit(1)) and await value_of(tx, _UNDER_WAY) is None:
            log.info("the record is not empty: nothing is imported", folder=str(folder))
            return 0
        await put_value(tx, _UNDER_WAY, str(folder))
        there = {ProjectId(row.tenant, row.name) for row in await tx.execute(select(projects))}
    waiting = [each for each in sorted(listing.projects) if each not in there]
    done = 0
    for count, project in enumerate(waiting):
        if progress:
            progress(count, len(waiting))
        try:
            await _bring(record, project, listing.projects[project], compiler)
            done += 1
        except ValueError as error:
            log.error("a project is passed over", project=str(project), why=str(error))
        except IntegrityError:
            log.exception("a project is passed over: it contradicts what is there", project=str(project))
    async with record.change() as tx:
        await drop_value(tx, _UNDER_WAY)
    if progress:
        progress(len(waiting), len(waiting))
    log.info("imported", projects=done, folder=str(folder))
    return done


async def _bring(record: Record, project: ProjectId, sources: Sources, compiler: Compiler) -> None:
    """Raises ValueError for what is no good."""
    if len(sources.documents) != 1:
        raise ValueError("it has several documents" if sources.documents else "it has keys but no document")
    names, edits = _taken_apart(await asyncio.to_thread(sources.documents[0].path.read_bytes))
    file = KeyFile(())
    if sources.keys is not None:
        file = key_file.parse(await asyncio.to_thread(sources.keys.path.read_bytes))
    document = joined(names, edits.put)
    async with record.look() as tx:
        number = next_number(await epoch_of(tx), 0)
    compiled = await compiler.compile(document, project, number)
    if isinstance(compiled, Refused):
        raise ValueError(f"{compiled.problem.message} {' '.join(compiled.problem.diagnostics)}")
    async with record.change() as tx:
        await _make(tx, project, names, file)
        await replace_all(tx, project, edits, expected=0, by=BY)
        for name, blob in compiled.snapshots.items():
            snapshot = Snapshot.from_bytes(blob)
            candidate = Candidate(
                number=number,
                document=document,
                document_digest=hashlib.sha256(document).hexdigest(),
                snapshot=blob,
                snapshot_digest=snapshot.digest,
                flags=len(snapshot),
                kind="import",
            )
            await commit_version(tx, EnvironmentId(*project, name), expected=0, candidate=candidate, by=BY)


def _taken_apart(content: bytes) -> tuple[tuple[str, ...], Edits]:
    """The environments, and every flag and segment. Raises ValueError."""
    pieces = read(content, Report())
    if pieces is None:
        raise ValueError("the document cannot be taken apart (hint: `burgee lint`)")
    put: dict[tuple[Kind, str], bytes] = {("flag", key): canonical_json(each) for key, each in pieces.flags.items()}
    put |= {("segment", key): canonical_json(each) for key, each in pieces.segments.items()}
    return environments_of(content), Edits(put)


async def _make(tx: Transaction, project: ProjectId, names: tuple[str, ...], file: KeyFile) -> None:
    now = round(time.time(), 3)
    if await tx.scalar(select(tenants.c.name).where(tenants.c.name == project.tenant)) is None:
        await tx.execute(insert(tenants).values(name=project.tenant, revision=1, created_at=now))
        await note(tx, BY, "tenant.create", project.tenant, {}, tenant=project.tenant)
    await tx.execute(insert(projects).values(tenant=project.tenant, name=project.project, revision=1, created_at=now))
    await note(tx, BY, "project.create", str(project), {"environments": names}, tenant=project.tenant)
    for place, name in enumerate(names):
        settings = {"origins": file.origins[name]} if name in file.origins else {}
        await tx.execute(
            insert(environments).values(
                tenant=project.tenant,
                project=project.project,
                name=name,
                place=place,
                revision=1,
                settings=msgspec.json.encode(settings).decode(),
                created_at=now,
            )
        )
    rows: list[dict[str, Any]] = [
        {
            "selector": each.selector,
            "digest": each.sha256,
            "kind": str(each.kind),
            "tenant": project.tenant,
            "project": project.project,
            "environments": msgspec.json.encode(each.environments).decode(),
            "name": each.name,
            "revision": 1,
            "created_at": each.created.timestamp(),
            "created_by": BY.name,
            "expires_at": each.expires.timestamp() if each.expires else None,
            "revoked_at": each.revoked.timestamp() if each.revoked else None,
        }
        for each in await _unclaimed(tx, project, file.keys)
        if each.kind is not KeyKind.ADMIN  # those of a record have a role, which a file does not say
    ]
    if rows:
        await tx.execute(insert(keys), rows)
        selectors = [row["selector"] for row in rows]
        await note(tx, BY, "key.create", str(project), {"selectors": selectors}, tenant=project.tenant)


async def _unclaimed(tx: Transaction, project: ProjectId, found: tuple[KeyRecord, ...]) -> list[KeyRecord]:
    """Those that open no other project: a key of the record opens one. The others are logged."""
    log = structlog.get_logger("import")
    free: list[KeyRecord] = []
    for each in found:
        same = or_(keys.c.selector == each.selector, keys.c.digest == each.sha256)
        other = (await tx.execute(select(keys.c.tenant, keys.c.project).where(same).limit(1))).one_or_none()
        if other is not None:
            first, second = f"{other.tenant}/{other.project}.keys.yaml", f"{project}.keys.yaml"
            log.error("a key is in two files; the first has it", selector=each.selector, first=first, second=second)
        elif any(each.selector == one.selector or each.sha256 == one.sha256 for one in free):
            log.error("a key is in a file twice", selector=each.selector, file=f"{project}.keys.yaml")
        else:
            free.append(each)
    return free
