"""The database behind the record: connections, transactions, and what is said when it cannot be had.

    record = await open_record("sqlite:////var/lib/burgee/record.db")
    async with record.change() as tx:        # one transaction; committed at the end, undone by any exception
        …
    async with record.look() as tx:          # reads what is committed, one moment for all of it

SQLite has one writer: `change` waits for its turn within the process, and 5 s for other processes. Postgres locks rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import event, insert, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from server.record.tables import instance

EPOCH: Final = 1_000_000_000  # versions and numbers of an epoch are below the next multiple of it
_EPOCHS_BEGIN: Final = 1_767_225_600  # 2026-01-01
_PATIENCE: Final = 2.0  # seconds for a connection, and for a statement of Postgres to begin
_BUSY: Final = 5.0  # seconds that SQLite waits for another process

Transaction = AsyncConnection


class RecordError(Exception):
    """The database cannot be used as it is: what is wrong, and what to do."""


class RecordUnavailableError(RecordError):
    """It cannot be reached, or not in time: nothing was changed, or it is not known whether the last change was."""


class Record:
    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._writing = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Transaction]:
        """Raises RecordUnavailableError; what the body raises comes through."""
        async with contextlib.AsyncExitStack() as stack:
            if self.is_sqlite:
                await stack.enter_async_context(self._writing)
            with _translated():
                connection = await stack.enter_async_context(self.engine.connect())
                await connection.execution_options(burgee_writes=True)
                async with connection.begin():
                    yield connection

    @contextlib.asynccontextmanager
    async def look(self) -> AsyncIterator[Transaction]:
        """As `change`; nothing may be written."""
        with _translated():
            async with self.engine.connect() as connection:
                if not self.is_sqlite:
                    await connection.execution_options(isolation_level="REPEATABLE READ")
                async with connection.begin():
                    yield connection

    async def close(self) -> None:
        await self.engine.dispose()


async def open_record(url: str) -> Record:
    """Raises RecordError. The schema is not looked at: `server.record.schema` does that."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(parsed, connect_args={"timeout": _BUSY}, pool_size=4, max_overflow=0)
        _prepare_sqlite(engine)
        Path(parsed.database or "").parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    else:
        engine = create_async_engine(
            parsed,
            pool_size=8,
            max_overflow=0,
            pool_timeout=_PATIENCE,
            pool_pre_ping=True,
            connect_args={"timeout": _PATIENCE, "command_timeout": 10.0, "server_settings": {"lock_timeout": "5s"}},
        )
    return Record(engine)


def parse_url(url: str) -> URL:
    """
    >>> parse_url("postgres://flags@db/burgee").drivername
    'postgresql+asyncpg'
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise RecordError("the database is not a URL (hint: sqlite:////var/lib/burgee/record.db)") from None
    name = parsed.drivername.partition("+")[0]
    if name == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise RecordError("the record needs a file (hint: sqlite:////var/lib/burgee/record.db)")
        return parsed.set(drivername="sqlite+aiosqlite")
    if name in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+asyncpg")
    raise RecordError(f"`{name}` is not a database for the record (hint: sqlite or postgresql)")


async def epoch_of(tx: Transaction) -> int:
    value: int = msgspec.json.decode(await _value(tx, "epoch") or "0")
    return value


async def begin_epoch(tx: Transaction, *, above: int = 0) -> int:
    """Another one, higher than any before: versions of a backup that was restored are then newer than what was lost."""
    minutes = int(time.time() - _EPOCHS_BEGIN) // 60
    epoch = max(await epoch_of(tx) + 1, above + 1, minutes)
    await put_value(tx, "epoch", epoch)
    return epoch


def next_number(epoch: int, number: int) -> int:
    """The version, or the number of a project, after this one.

    >>> next_number(0, 17), next_number(3, 17), next_number(3, 3_000_000_005)
    (18, 3000000001, 3000000006)
    """
    return max(number, epoch * EPOCH) + 1


async def identity_of(tx: Transaction) -> str | None:
    """The record's own name, which its backups keep: numbers of two records are not comparable."""
    found = await _value(tx, "id")
    return msgspec.json.decode(found) if found else None


async def identify(tx: Transaction) -> str:
    """Gives it one where it has none."""
    found = await identity_of(tx)
    if found is None:
        found = secrets.token_hex(8)
        await put_value(tx, "id", found)
    return found


async def put_value(tx: Transaction, name: str, value: Any) -> None:
    await tx.execute(instance.delete().where(instance.c.name == name))
    await tx.execute(insert(instance).values(name=name, value=msgspec.json.encode(value).decode()))


async def _value(tx: Transaction, name: str) -> str | None:
    found: str | None = await tx.scalar(select(instance.c.value).where(instance.c.name == name))
    return found


async def is_paused(tx: Transaction) -> bool:
    return await _value(tx, "paused") == "true"


def _prepare_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        cursor = connection.cursor()
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -32000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        writes = connection.get_execution_options().get("burgee_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, PoolTimeoutError, OSError, TimeoutError, sqlite3.OperationalError) as error:
        raise RecordUnavailableError(f"the record cannot be reached: {_why(error)}") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise RecordUnavailableError("the record cannot be reached: the connection was lost") from error
        raise


def _why(error: BaseException) -> str:
    """Without the statement and its values, which SQLAlchemy puts into its message."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(cause) or type(cause).__name__).splitlines()[0].lower()
