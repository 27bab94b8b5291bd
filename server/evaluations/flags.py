"""Which flags there are: of an environment that is served, and so which counts are of something that is gone."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import structlog

from engine import SnapshotError
from server.evaluations.database import Database, DatabaseThread
from server.state.records import Published
from server.state.snapshots import SnapshotFiles
from server.state.store import Store
from server.types import EnvironmentId

KEEP_GONE = 90 * 86_400  # seconds after its last evaluation that a flag which is gone keeps its counts
FIRST_PRUNE, PRUNE_EVERY = 600.0, 86_400.0  # seconds


def environment_of(text: str) -> EnvironmentId | None:
    """
    >>> environment_of("shop/web/production").project
    'web'
    """
    parts = text.split("/")
    return EnvironmentId(*parts) if len(parts) == 3 and all(parts) else None


def published_of(store: Store, environment: EnvironmentId) -> Published | None:
    """None where there is no such environment."""
    record = store.record(environment.project_id)
    return next((each for each in record.environments if each.name == environment.environment), None)


async def flag_keys(store: Store, files: SnapshotFiles, environment: EnvironmentId) -> tuple[str, ...]:
    """None of an environment that is gone. Raises SnapshotError, OSError."""
    published = published_of(store, environment)
    if published is None:
        return ()
    return await asyncio.to_thread(lambda: files.map(environment, published).flag_keys)


async def prune(database: DatabaseThread, store: Store, files: SnapshotFiles, now: float) -> int:
    """Forget counts of what is gone, KEEP_GONE after the last evaluation. Raises sqlite3.Error, OSError."""
    before = int(now - KEEP_GONE)
    forgotten = 0
    for name in await database.call(lambda each: each.idle(before)):
        environment = environment_of(name)
        try:
            there = frozenset(await flag_keys(store, files, environment) if environment else ())
        except (OSError, SnapshotError):
            continue  # next time
        forgotten += await database.call(partial(_forget, name, there, before))
    return forgotten


def _forget(environment: str, there: frozenset[str], before: int, database: Database) -> int:
    return database.forget(environment, there, before)


async def keep_pruned(database: DatabaseThread, store: Store, files: SnapshotFiles) -> None:
    log = structlog.get_logger("evaluations")
    await asyncio.sleep(FIRST_PRUNE)
    while True:
        try:
            if forgotten := await prune(database, store, files, time.time()):
                log.info("counts of what is gone were forgotten", rows=forgotten)
        except Exception:
            log.exception("counts could not be pruned")
        await asyncio.sleep(PRUNE_EVERY)
