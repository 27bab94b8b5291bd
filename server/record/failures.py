"""What is said when the database cannot be had: never a statement, its values or a password.

reason_of(<asyncpg: terminating connection due to administrator command>)  -> "terminating connection due to …"
reason_of(<sqlite3: UNIQUE constraint failed>)                             -> None: the database is well
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

# Classes of SQLSTATE: connections, resources, another's locks, shutdown, the system, who may connect; deadlocks.
_POSTGRES: Final = ("08", "53", "55", "57", "58", "28", "3D", "40")
_SQLITE: Final = "BUSY LOCKED IOERR FULL READONLY CANTOPEN CORRUPT NOTADB PROTOCOL NOMEM PERM".split()


class RecordError(Exception):
    """The database cannot be used as it is: what is wrong, and what to do."""


class RecordUnavailableError(RecordError):
    """It cannot be reached, or not in time. Nothing was changed."""


class RecordInDoubtError(RecordUnavailableError):
    """The connection was lost while the change was being committed: it was made, or it was not."""


def told(error: RecordError) -> str:
    """What callers hear. Why is for the log: a driver's words may name the database's user, host or tables."""
    if isinstance(error, RecordInDoubtError):
        return "it is not known whether the change was made (hint: look, or send it again with its Idempotency-Key)"
    return "the record cannot be reached now"


def reason_of(error: BaseException) -> str | None:
    """Why the database cannot be had. None where this error does not say that it cannot."""
    if isinstance(error, PoolTimeoutError):
        return "no connection is free"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionError):
        return of_system(error)
    if not isinstance(error, DBAPIError):
        return None
    cause = _of_driver(error)
    state = getattr(cause, "sqlstate", None) or ""
    name = (getattr(cause, "sqlite_errorname", None) or "").split("_")
    if error.connection_invalidated or state.startswith(_POSTGRES) or (len(name) > 1 and name[1] in _SQLITE):
        return (str(cause) or "the connection was lost").splitlines()[0].lower()
    return None


def of_system(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).splitlines()[0].lower()


def _of_driver(error: DBAPIError) -> BaseException:
    found: BaseException | None = error.orig
    inner = getattr(found, "driver_exception", None) or getattr(found, "__cause__", None)
    return inner or found or error
