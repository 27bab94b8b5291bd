"""Flags that nobody evaluates any more, by the counts that the agent of this host keeps.

    await stale_flags(tx, environment, seen, kept, days=30)      [StaleFlag("old-banner", last_evaluated_at=None), …]

`seen` is what `last_evaluations(<state>/evaluations.db, environment)` gives. Hosts elsewhere count for themselves: what
their `GET /evaluations` says is theirs, so where there are several, ask each.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from server.control.publishing.candidate import basis_of
from server.control.publishing.kept import KeptDocuments
from server.record.database import Transaction
from server.record.definitions import FLAG
from server.record.history import version_before
from server.types import EnvironmentId


class StaleFlag(msgspec.Struct, frozen=True):
    flag: str
    last_evaluated_at: float | None  # seconds since the epoch; None: never, as far as is known


async def last_evaluations(file: Path | None, environment: EnvironmentId) -> Mapping[str, float]:
    """By flag; nothing where there are no counts, or they cannot be read for now."""
    return await asyncio.to_thread(_read, file, str(environment)) if file is not None else {}


async def stale_flags(
    tx: Transaction,
    environment: EnvironmentId,
    seen: Mapping[str, float],
    kept: KeptDocuments,
    *,
    days: float,
    now: float | None = None,
) -> list[StaleFlag]:
    """Of what is published, and was that many days ago, by key. Raises LookupError."""
    since = (time.time() if now is None else now) - days * 86_400
    basis = await basis_of(tx, environment, kept)
    then = await version_before(tx, environment, since)
    before = await kept.published(tx, environment.project_id, then.document) if then is not None else None
    old = before.parts.keys() if before is not None else frozenset()
    keys = sorted(key for kind, key in basis.published.parts.keys() & old if kind == FLAG)
    return [StaleFlag(key, seen.get(key)) for key in keys if seen.get(key, 0.0) < since]


def _read(file: Path, environment: str) -> Mapping[str, float]:
    query = "SELECT flag, max(last_at) FROM evaluations WHERE environment = ? GROUP BY flag"
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=1.0)
    except sqlite3.Error:
        return {}
    try:
        return {flag: float(at) for flag, at in connection.execute(query, (environment,))}
    except sqlite3.Error:
        return {}
    finally:
        connection.close()
