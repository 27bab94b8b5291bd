"""The first owner: a record without any admin key gets one, and its key goes into a file that only we can read.

    await make_first_key(record, Path("/var/lib/burgee/admin.key"))      True: it was made

The file is written and on disk before the record knows the key: what is killed in between is done again at the next
start, with another key.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import structlog

from server import keys as text_of_keys
from server.control.roles import Role
from server.record.audit import SYSTEM
from server.record.database import Record
from server.record.keys import NewKey, add_key, any_admin_key, other_owners
from server.types import KeyKind

FILE = "admin.key"  # in the state folder


async def make_first_key(record: Record, path: Path) -> bool:
    """Whether it was made. Raises OSError where the file cannot be written, RecordUnavailableError."""
    async with record.look() as tx:
        if await any_admin_key(tx):
            return False
    async with record.change() as tx:
        if await any_admin_key(tx):
            return False
        key = text_of_keys.new_key(KeyKind.ADMIN)
        selector = text_of_keys.selector_of(key) or ""
        made = NewKey(selector, text_of_keys.digest_of(key).hex(), KeyKind.ADMIN, role=Role.OWNER, name="first owner")
        await add_key(tx, made, by=SYSTEM)  # waits for whoever does the same: both lock the audit of the instance
        if await other_owners(tx, selector):
            await tx.rollback()
            return False
        await asyncio.to_thread(_write, path, key)
    structlog.get_logger("control").info("made the first owner", selector=selector, file=str(path))
    return True


def _write(path: Path, key: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{key}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
