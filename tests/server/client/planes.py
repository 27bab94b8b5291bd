"""A control plane on a real socket and a real record, in a thread, and `burgee` as somebody calls it who has its key.

with plane(folder) as control:
    control.burgee("tenants", "list").stdout
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from click.testing import CliRunner, Result
from sqlalchemy import insert

from server import keys
from server.cli import main
from server.control.app import control_plane
from server.control.feed import Feed
from server.control.parts import Parts
from server.record import tables
from server.record.database import Record
from server.record.schema import open_migrated
from server.sources.compiling import Compiler
from server.types import KeyKind

PATIENCE = 60.0  # seconds


@dataclass(frozen=True)
class Plane:
    port: int
    key: str
    record: Record
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def burgee(self, *arguments: str | Path, stdin: str | None = None, **variables: str) -> Result:
        return burgee(*arguments, stdin=stdin, **{"control": self.url, "admin_key": self.key, **variables})

    def json(self, *arguments: str | Path) -> Any:
        """What a command that succeeds prints."""
        result = self.burgee(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


def burgee(*arguments: str | Path, stdin: str | None = None, **variables: str) -> Result:
    environment = {f"BURGEE_{name.upper()}": value for name, value in variables.items()}
    return CliRunner().invoke(main, [str(each) for each in arguments], input=stdin, env=environment)


@contextmanager
def plane(folder: Path) -> Iterator[Plane]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[Plane, web.AppRunner, Compiler]:
        record = await open_migrated(f"sqlite:///{folder / 'record.db'}")
        compiler = Compiler(1)
        key = await add_key(record, "owner")
        runner = web.AppRunner(control_plane(Parts(record, Feed(), compiler)), shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return Plane(runner.addresses[0][1], key, record, loop), runner, compiler

    async def stop() -> None:
        await runner.cleanup()
        compiler.close()
        await started.record.close()

    try:
        started, runner, compiler = asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENCE)
        try:
            yield started
        finally:
            asyncio.run_coroutine_threadsafe(stop(), loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


async def add_key(record: Record, role: str, *, tenant: str = "") -> str:
    key = keys.new_key(KeyKind.ADMIN)
    async with record.change() as tx:
        await tx.execute(
            insert(tables.keys).values(
                selector=keys.selector_of(key),
                digest=keys.digest_of(key).hex(),
                kind=str(KeyKind.ADMIN),
                tenant=tenant,
                role=role,
                revision=1,
                created_at=0.0,
                created_by="test",
            )
        )
    return key
