"""Flags that nobody evaluates any more, by the counts that the agent of this host keeps.

    await stale_flags(tx, environment, seen, days=30)      [StaleFlag("old-banner", last_evaluated_at=None), …]

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
from server.record.database import Transaction
from server.record.definitions import FLAG
from server.types import EnvironmentId


class StaleFlag(msgspec.Struct, frozen=True):
    flag: str
    last_evaluated_at: float | None  # seconds since the epoch; None: never, as far as is known


async def last_evaluations(file: Path | None, environment: EnvironmentId) -> Mapping[str, float]:
    """By flag; nothing where there are no counts, or they cannot be read for now."""
    return await asyncio.to_thread(_read, file, str(environment)) if file is not None else {}


async def stale_flags(
    tx: Transaction, environment: EnvironmentId, seen: Mapping[str, float], *, days: float
) -> list[StaleFlag]:
    """Of what is published, by key. Raises LookupError."""
    basis = await basis_of(tx, environment)
    since = time.time() - days * 86_400
    keys = sorted(key for kind, key in basis.published.parts if kind == FLAG)
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
