"""What hosts say, kept in a record of a test's own.

async def work(hosts: Hosts) -> None: …
with_hosts(tmp_path, work)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from server.control.hosts import Hosts
from server.record.schema import open_migrated


def with_hosts(folder: Path, work: Callable[[Hosts], Awaitable[None]]) -> None:
    async def run() -> None:
        record = await open_migrated(f"sqlite:///{folder}/record.db")
        try:
            await work(Hosts(record))
        finally:
            await record.close()

    asyncio.run(run())
