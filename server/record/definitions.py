"""Flags and segments of a project as they are edited: the working copy, one row each, nothing of it live.

    await put_definition(tx, ProjectId("shop", "web"), FLAG, "checkout", b'{"type":"boolean",…}', expected=7, by=actor)

becomes `Definition("flag", "checkout", b'{"type":…}', revision=9, …)`, or raises StaleError where its revision is not 7
any more. Bodies are canonical JSON, so a whole document is made by joining them: none is looked into.

INVARIANT: a revision is the project's `edited` at the change, so a flag that is deleted and made
again never has an old one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update

from rules_compiler.reading import strict_value
from server.record.audit import Actor, canonical, note
from server.record.database import Transaction
from server.record.tables import definitions, environments, projects
from server.record.versions import StaleError
from server.types import ProjectId

Kind = Literal["flag", "segment"]
FLAG: Final = "flag"
SEGMENT: Final = "segment"
PLURALS: Final[dict[Kind, str]] = {"flag": "flags", "segment": "segments"}


class ExistsError(Exception):
    """What is to be made is there already."""


@dataclass(frozen=True, slots=True)
class Definition:
    kind: Kind
    key: str
    body: bytes  # canonical JSON, as in the flag document
    revision: int
    created_at: float
    changed_at: float
    changed_by: str


@dataclass(frozen=True, slots=True)
class Edits:
    """How one working copy becomes another; keys of (kind, key)."""

    put: Mapping[tuple[Kind, str], bytes]
    removed: tuple[tuple[Kind, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put or self.removed)


def canonical_json(text: bytes) -> bytes:
    """The same for the same value. Raises ValueError for what is no JSON, or has a member twice."""
    try:
        return canonical(strict_value(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except OverflowError:
        raise ValueError("an integer of more than 64 bits") from None


async def get_definition(tx: Transaction, project: ProjectId, kind: Kind, key: str) -> Definition | None:
    row = (await tx.execute(select(definitions).where(_is(project, kind, key)))).one_or_none()
    return _definition(row) if row is not None else None


async def list_definitions(
    tx: Transaction, project: ProjectId, kind: Kind, *, after: str = "", limit: int = 100
) -> list[Definition]:
    """In the order of keys, beyond `after`."""
    rows = await tx.execute(
        select(definitions)
        .where(_of(project), definitions.c.kind == kind, definitions.c.key > after)
        .order_by(definitions.c.key)
        .limit(limit)
    )
    return [_definition(row) for row in rows]


async def put_definition(
    tx: Transaction, project: ProjectId, kind: Kind, key: str, body: bytes, *, expected: int | None, by: Actor
) -> Definition:
    """`expected`: the revision that is replaced; None: there is none. `body` is canonical JSON.

    Raises StaleError, ExistsError, and LookupError where there is no such project, flag or segment.
    """
    edited = await begin_edit(tx, project)
    found = await tx.scalar(select(definitions.c.revision).where(_is(project, kind, key)))
    if expected is None and found is not None:
        raise ExistsError(found)
    if expected is not None and found is None:
        raise LookupError(f"there is no {kind} `{key}`")
    if expected is not None and found != expected:
        raise StaleError(found or 0)
    await _write(
        tx, project, {(kind, key): body}, existing={(kind, key)} if found is not None else set(), edited=edited, by=by
    )
    action = f"{kind}.{'update' if found is not None else 'create'}"
    await note(
        tx,
        by,
        action,
        _target(project, kind, key),
        {"revision": edited, "digest": digest_of(body)},
        tenant=project.tenant,
    )
    made = await get_definition(tx, project, kind, key)
    assert made is not None
    return made


async def delete_definition(
    tx: Transaction, project: ProjectId, kind: Kind, key: str, *, expected: int, by: Actor
) -> None:
    """Raises StaleError, and LookupError where there is no such project, flag or segment."""
    await begin_edit(tx, project)
    found = await tx.scalar(select(definitions.c.revision).where(_is(project, kind, key)))
    if found is None:
        raise LookupError(f"there is no {kind} `{key}`")
    if found != expected:
        raise StaleError(found)
    await tx.execute(delete(definitions).where(_is(project, kind, key)))
    await note(tx, by, f"{kind}.delete", _target(project, kind, key), {"revision": found}, tenant=project.tenant)


async def begin_edit(tx: Transaction, project: ProjectId) -> int:
    """The revision of what is edited in this transaction. Locks the project's row, so edits come one after another."""
    here = (
        (projects.c.tenant == project.tenant) & (projects.c.name == project.project) & projects.c.deleted_at.is_(None)
    )
    row = (
        await tx.execute(update(projects).where(here).values(edited=projects.c.edited + 1).returning(projects.c.edited))
    ).one_or_none()
    if row is None:
        raise LookupError(f"there is no project `{project}`")
    edited: int = row.edited
    return edited


async def edited_of(tx: Transaction, project: ProjectId) -> int:
    """Rises with every change of the working copy: its ETag. Raises LookupError."""
    here = (
        (projects.c.tenant == project.tenant) & (projects.c.name == project.project) & projects.c.deleted_at.is_(None)
    )
    edited: int | None = await tx.scalar(select(projects.c.edited).where(here))
    if edited is None:
        raise LookupError(f"there is no project `{project}`")
    return edited


async def apply_edits(tx: Transaction, project: ProjectId, edits: Edits, *, edited: int, by: Actor) -> None:
    """Within an edit that has begun; the audit row is the caller's."""
    rows = await tx.execute(select(definitions.c.kind, definitions.c.key).where(_of(project)))
    existing = {(row.kind, row.key) for row in rows}
    for kind, key in edits.removed:
        await tx.execute(delete(definitions).where(_is(project, kind, key)))
    await _write(tx, project, edits.put, existing=existing - set(edits.removed), edited=edited, by=by)


async def replace_all(tx: Transaction, project: ProjectId, edits: Edits, *, expected: int, by: Actor) -> int:
    """The edits that make the working copy as it was at `expected` another document; its new `edited`.

    Raises StaleError where somebody was quicker.
    """
    edited = await begin_edit(tx, project)
    if edited != expected + 1:
        raise StaleError(edited - 1)
    await apply_edits(tx, project, edits, edited=edited, by=by)
    details = {
        "put": sorted(f"{PLURALS[kind]}.{key}" for kind, key in edits.put)[:1000],
        "removed": sorted(f"{PLURALS[kind]}.{key}" for kind, key in edits.removed)[:1000],
        "revision": edited,
    }
    await note(tx, by, "document.replace", str(project), details, tenant=project.tenant)
    return edited


async def bodies_of(tx: Transaction, project: ProjectId, *, above: int | None = None) -> dict[tuple[Kind, str], bytes]:
    """The whole working copy, or what has a revision above that, in the order of kinds and keys, by code point."""
    here = _of(project) if above is None else _of(project) & (definitions.c.revision > above)
    rows = await tx.execute(select(definitions.c.kind, definitions.c.key, definitions.c.body).where(here))
    return {(kind, key): body.encode() for kind, key, body in sorted(map(tuple, rows))}


async def environment_names(tx: Transaction, project: ProjectId) -> tuple[str, ...]:
    rows = await tx.execute(
        select(environments.c.name)
        .where(
            environments.c.tenant == project.tenant,
            environments.c.project == project.project,
            environments.c.deleted_at.is_(None),
        )
        .order_by(environments.c.place, environments.c.name)
    )
    return tuple(row.name for row in rows)


async def document_of_project(tx: Transaction, project: ProjectId) -> bytes:
    """The working copy as a flag document, in canonical JSON. Raises LookupError."""
    await edited_of(tx, project)
    return joined(await environment_names(tx, project), await bodies_of(tx, project))


def joined(names: tuple[str, ...], bodies: Mapping[tuple[Kind, str], bytes]) -> bytes:
    """Canonical JSON of the document, from canonical parts.

    >>> joined(("default",), {("flag", "b"): b"{}", ("flag", "a"): b"{}"})
    b'{"environments":["default"],"flags":{"a":{},"b":{}},"segments":{}}'
    """
    flags, segments = (
        b",".join(b'"%b":%b' % (key.encode(), bodies[each, key]) for each, key in sorted(bodies) if each == kind)
        for kind in (FLAG, SEGMENT)
    )
    return b'{"environments":%b,"flags":{%b},"segments":{%b}}' % (canonical(names), flags, segments)


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def count_definitions(tx: Transaction, project: ProjectId, kind: Kind) -> int:
    here = _of(project) & (definitions.c.kind == kind)
    count: int = await tx.scalar(select(func.count()).select_from(definitions).where(here)) or 0
    return count


async def count_all(tx: Transaction, project: ProjectId) -> int:
    count: int = await tx.scalar(select(func.count()).select_from(definitions).where(_of(project))) or 0
    return count


async def _write(
    tx: Transaction,
    project: ProjectId,
    bodies: Mapping[tuple[Kind, str], bytes],
    *,
    existing: set[tuple[Kind, str]],
    edited: int,
    by: Actor,
) -> None:
    now = round(time.time(), 3)
    changed = {"revision": edited, "changed_at": now, "changed_by": by.name}
    for kind, key in sorted(existing & bodies.keys()):
        await tx.execute(
            update(definitions).where(_is(project, kind, key)).values(body=bodies[kind, key].decode(), **changed)
        )
    named = {"tenant": project.tenant, "project": project.project, "created_at": now, **changed}
    fresh: list[dict[str, Any]] = [
        {"kind": kind, "key": key, "body": bodies[kind, key].decode(), **named}
        for kind, key in sorted(bodies.keys() - existing)
    ]
    if fresh:
        await tx.execute(insert(definitions), fresh)


def _of(project: ProjectId) -> ColumnElement[bool]:
    return (definitions.c.tenant == project.tenant) & (definitions.c.project == project.project)


def _is(project: ProjectId, kind: str, key: str) -> ColumnElement[bool]:
    return _of(project) & (definitions.c.kind == kind) & (definitions.c.key == key)


def _target(project: ProjectId, kind: Kind, key: str) -> str:
    return f"{project}/{PLURALS[kind]}/{key}"


def _definition(row: Row[Any]) -> Definition:
    return Definition(
        row.kind, row.key, row.body.encode(), row.revision, row.created_at, row.changed_at, row.changed_by
    )
