"""The counts on disk: SQLite, a row for each environment, flag and variant that was ever answered.

    evaluations:  shop/web/production | checkout | new | 41 | 1795356000 | 1795357000
    heard:        3 | 812739… | 17        the latest message of each door that is in the counts

A message counts once: its number is committed with its counts, and it is taken off the door after that. A file that is
damaged is moved aside and a new one begun: counts are not worth an agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import structlog

from server.evaluations.messages import Counted

Result = TypeVar("Result")

FILE = "evaluations.db"
_FORMAT = 1
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS evaluations (
    environment TEXT NOT NULL, flag TEXT NOT NULL, variant TEXT NOT NULL,  -- variant: '' where there is none
    count INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL,  -- seconds since the epoch
    PRIMARY KEY (environment, flag, variant)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heard (door INTEGER PRIMARY KEY, worker INTEGER NOT NULL, number INTEGER NOT NULL);
PRAGMA user_version = {_FORMAT};
"""
_ADD = """
INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
    count = count + excluded.count,
    first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)
"""


class Kept(NamedTuple):
    """One row; in the order of rows."""

    environment: str
    flag: str
    variant: str  # "" where there is none: the code default, and errors
    evaluations: int
    first_at: int | None
    last_at: int | None


class Database:
    """For one thread. Every method raises sqlite3.Error when the file cannot be used for now."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._connection: sqlite3.Connection | None = None
        self._log = structlog.get_logger("evaluations")

    def attempt(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        """In one transaction; with a new file where this one is damaged."""
        try:
            return self._within(action)
        except sqlite3.OperationalError:
            self.close()  # full, read-only, gone: it is opened anew next time
            raise
        except sqlite3.DatabaseError as error:
            self._log.error("the counts are damaged; they are moved aside and begun anew", why=str(error))
            self._move_aside()
            return self._within(action)

    def add(self, messages: Sequence[tuple[int, Counted]]) -> list[bool]:
        """`messages`: with their doors. Which of them are new here."""

        def action(connection: sqlite3.Connection) -> list[bool]:
            heard = {door: (worker, number) for door, worker, number in connection.execute("SELECT * FROM heard")}
            fresh = [heard.get(door) != (each.worker, each.number) for door, each in messages]
            for (door, each), new in zip(messages, fresh, strict=True):
                if new:
                    connection.executemany(
                        _ADD,
                        [
                            (name, flag, variant or "", count, each.at, each.at)
                            for name, rows in each.environments
                            for flag, variant, count in rows
                        ],
                    )
                    connection.execute("REPLACE INTO heard VALUES (?, ?, ?)", (door, each.worker, each.number))
            return fresh

        return self.attempt(action)

    def rows(self, least: str, below: str, *, flag: str | None, after: tuple[str, str, str], limit: int) -> list[Kept]:
        """Of environments from `least` to `below`, which is not one of them; beyond `after`."""
        query = "SELECT * FROM evaluations WHERE (environment, flag, variant) > (?, ?, ?) AND environment < ?"
        query += " AND flag = ?" if flag is not None else ""
        query += " ORDER BY environment, flag, variant LIMIT ?"
        values = (*max((least, "", ""), after), below, *((flag,) if flag is not None else ()), limit)
        return self.attempt(lambda connection: [Kept(*each) for each in connection.execute(query, values)])

    def flags(self, environment: str) -> set[str]:
        query = "SELECT DISTINCT flag FROM evaluations WHERE environment = ?"
        return self.attempt(lambda connection: {flag for (flag,) in connection.execute(query, (environment,))})

    def idle(self, before: int) -> list[str]:
        """Environments with rows that were last counted before that moment."""
        query = "SELECT DISTINCT environment FROM evaluations WHERE last_at < ?"
        return self.attempt(lambda connection: [name for (name,) in connection.execute(query, (before,))])

    def forget(self, environment: str, there: Container[str], before: int) -> int:
        """Deletes its rows of other flags than are `there`, last counted before that moment; how many."""

        def action(connection: sqlite3.Connection) -> int:
            idle = "SELECT DISTINCT flag FROM evaluations WHERE environment = ? AND last_at < ?"
            gone = [flag for (flag,) in connection.execute(idle, (environment, before)) if flag not in there]
            delete = "DELETE FROM evaluations WHERE environment = ? AND flag = ? AND last_at < ?"
            return (
                connection.executemany(delete, [(environment, flag, before) for flag in gone]).rowcount if gone else 0
            )

        return self.attempt(action)

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _within(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        connection = self._connection or self._open()
        with connection:
            connection.execute("BEGIN")
            return action(connection)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, _FORMAT):
                raise sqlite3.DatabaseError(f"the file is of format {found}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # power loss may take the last seconds
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _move_aside(self) -> None:
        self.close()
        for suffix in ("-wal", "-shm"):
            self._path.with_name(FILE + suffix).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._path.with_name(f"{FILE}.damaged"))


class DatabaseThread:
    """The database behind a thread of its own, so that the event loop never waits for a disk."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder)
        self._executor = ThreadPoolExecutor(1, "evaluations")

    async def call(self, action: Callable[[Database], Result]) -> Result:
        """Raises sqlite3.Error, OSError."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, action, self._database)

    async def close(self) -> None:
        await self.call(Database.close)
        self._executor.shutdown()
