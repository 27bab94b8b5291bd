"""The database behind the record: connections, transactions, and what is said when it cannot be had.

    record = await open_record("sqlite:////var/lib/burgee/record.db")
    async with record.change() as tx:        # one transaction; committed at the end, undone by any exception
        …
    async with record.look() as tx:          # reads what is committed, one moment for all of it

SQLite has one writer: `change` waits for its turn within the process, and 5 s for other processes. Postgres locks rows;
one that does not answer is left after 2 s, and asked again by one caller at a time (`server/record/door.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import event, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from server.record.door import Door
from server.record.failures import RecordError, RecordInDoubtError, RecordUnavailableError, of_system, reason_of
from server.record.tables import instance

__all__ = ["Record", "RecordError", "RecordInDoubtError", "RecordUnavailableError", "Transaction", "open_record"]

EPOCH: Final = 1_000_000_000  # versions and numbers of an epoch are below the next multiple of it
_EPOCHS_BEGIN: Final = 1_767_225_600  # 2026-01-01
_PATIENCE: Final = 2.0  # seconds for a connection, and for what goes wrong to be put away
_BUSY: Final = 5.0  # seconds that SQLite waits for another process
_CONNECTIONS: Final = 8  # to Postgres
_LONGEST: Final = 4.0  # seconds for a statement of Postgres, a row's lock (2 s) included
_SESSION: Final = {"lock_timeout": "2s", "idle_in_transaction_session_timeout": "30s"}  # who is cut off locks nothing

Transaction = AsyncConnection


class Record:
    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._writing = asyncio.Lock()
        self._door = Door(_CONNECTIONS)
        self._left: set[asyncio.Task[Any]] = set()  # connections that are being ended

    @contextlib.asynccontextmanager
    async def change(self) -> AsyncIterator[Transaction]:
        """Raises RecordUnavailableError, of which RecordInDoubtError is one; what the body raises comes through."""
        async with self._writing if self.is_sqlite else self._door:
            connection = await self._connect(burgee_writes=True)
            async with self._ended(connection):
                yield connection
                await self._commit(connection)

    @contextlib.asynccontextmanager
    async def look(self) -> AsyncIterator[Transaction]:
        """As `change`; nothing may be written."""
        async with contextlib.nullcontext() if self.is_sqlite else self._door:
            options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            connection = await self._connect(**options)
            async with self._ended(connection):
                yield connection

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.engine.dispose(), _PATIENCE)

    async def _connect(self, **options: Any) -> AsyncConnection:
        """One that has begun a transaction."""
        opening = asyncio.create_task(self._open(options))
        try:
            await asyncio.wait({opening}, timeout=None if self.is_sqlite else _PATIENCE)
        except asyncio.CancelledError:
            self._leave(opening)
            raise
        if not opening.done():
            self._leave(opening)
            raise self._door.shut(
                RecordUnavailableError(f"the record cannot be reached: no answer in {_PATIENCE:.0f} s")
            )
        try:
            connection = opening.result()
        except Exception as error:
            reason = of_system(error) if isinstance(error, OSError) else reason_of(error)
            if reason is None:
                raise
            raise self._door.shut(RecordUnavailableError(f"the record cannot be reached: {reason}")) from error
        self._door.open()
        return connection

    async def _open(self, options: dict[str, Any]) -> AsyncConnection:
        connection = await self.engine.connect()
        try:
            await connection.execution_options(**options)
            await connection.begin()
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _commit(self, connection: AsyncConnection) -> None:
        if connection.invalidated:  # and the body went on
            raise RecordUnavailableError("the record cannot be reached: the connection was lost")
        try:
            await connection.commit()
        except Exception as error:
            reason = reason_of(error)
            if reason is None or (self.is_sqlite and "i/o" not in reason):  # SQLite knows that it did not
                raise
            raise RecordInDoubtError(f"it is not known whether the change was made: {reason}") from error

    @contextlib.asynccontextmanager
    async def _ended(self, connection: AsyncConnection) -> AsyncIterator[None]:
        """Undoes what was not committed, and gives the connection back, or ends one that does not answer."""
        try:
            yield
        except Exception as error:
            reason = reason_of(error)
            if reason is None and not isinstance(error, RecordUnavailableError):
                await self._put_back(connection)
                raise
            await self._put_away(connection)
            if reason is None:
                raise
            raise RecordUnavailableError(f"the record cannot be reached: {reason}") from error
        except BaseException:
            await self._put_away(connection)
            raise
        await self._put_back(connection)

    async def _put_back(self, connection: AsyncConnection) -> None:
        """Its transaction is undone, if it was not committed."""
        closing = asyncio.create_task(connection.close())
        self._leave(closing)
        with contextlib.suppress(Exception):  # what was committed is committed
            await asyncio.shield(closing)

    async def _put_away(self, connection: AsyncConnection) -> None:
        if self.is_sqlite:
            await self._put_back(connection)
        else:
            self._leave(asyncio.create_task(_end(connection)))

    def _leave(self, task: asyncio.Task[Any]) -> None:
        """Nobody waits for it."""
        self._left.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled() and task.exception() is None and task.result() is not None:
            self._leave(asyncio.create_task(_end(task.result())))  # a connection that came too late


async def _end(connection: AsyncConnection) -> None:
    with contextlib.suppress(Exception):
        await connection.invalidate()
    with contextlib.suppress(Exception):
        await connection.close()


async def open_record(url: str, *, patient: bool = False) -> Record:
    """Raises RecordError. The schema is not looked at: `server.record.schema` does that.

    A patient one waits for statements as long as they take: for migrations and backups.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(
            parsed, connect_args={"timeout": _BUSY}, pool_size=4, max_overflow=0, hide_parameters=True
        )
        _prepare_sqlite(engine)
        _make_file(Path(parsed.database or ""))
    else:
        engine = create_async_engine(
            parsed.set(query={}),
            pool_size=_CONNECTIONS,
            max_overflow=_CONNECTIONS,  # while others are being ended
            pool_timeout=_PATIENCE,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "dsn": parsed.set(drivername="postgresql").render_as_string(
                    hide_password=False
                ),  # sslmode and the like
                "timeout": _PATIENCE,
                "command_timeout": None if patient else _LONGEST,
                "server_settings": {"application_name": "burgee"} | ({} if patient else _SESSION),
            },
        )
    return Record(engine)


def _make_file(path: Path) -> None:
    """Open to nobody else: it holds digests of keys, and secrets of webhooks."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise RecordError(f"`{path}` cannot be opened: {(error.strerror or str(error)).lower()}") from None


def parse_url(url: str) -> URL:
    """
    >>> parse_url("postgres://flags@db/burgee").drivername
    'postgresql+asyncpg'
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
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
    found: str | None = await value_of(tx, "id")
    return found


async def identify(tx: Transaction) -> str:
    """Gives it one where it has none."""
    found = await identity_of(tx)
    if found is None:
        found = secrets.token_hex(8)
        await put_value(tx, "id", found)
    return found


async def value_of(tx: Transaction, name: str) -> Any:
    """None where there is none."""
    found = await _value(tx, name)
    return msgspec.json.decode(found) if found is not None else None


async def drop_value(tx: Transaction, name: str) -> None:
    await tx.execute(instance.delete().where(instance.c.name == name))


async def put_value(tx: Transaction, name: str, value: Any) -> None:
    """INVARIANT: the row stays while it changes, so that whoever waits for its lock finds it."""
    make = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    row = make(instance).values(name=name, value=msgspec.json.encode(value).decode())
    await tx.execute(row.on_conflict_do_update(index_elements=["name"], set_={"value": row.excluded.value}))


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
