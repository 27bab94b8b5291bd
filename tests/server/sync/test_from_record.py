"""A control plane gives what it remembers, and asks the record once for what many want at once."""

from __future__ import annotations

import asyncio

from sqlalchemy import event

from server.control.feed import Feed
from server.control.metrics import ControlMetrics
from server.processes.control import keep_running
from server.record.schema import open_migrated
from server.sync.from_record import RecordProvider
from tests.server.record.rows import PRODUCTION, add_environments, candidate, publish

HOSTS = 20


def test_a_new_snapshot_is_fetched_once_for_all_who_ask(database_url: str) -> None:
    async def run() -> None:
        record = await open_migrated(database_url)
        async with record.change() as tx:
            await add_environments(tx, PRODUCTION)
        version = await publish(record, PRODUCTION, "one")
        digest = candidate(PRODUCTION, version, "one").snapshot_digest
        provider, asked = RecordProvider(record, Feed()), []

        @event.listens_for(record.engine.sync_engine, "before_cursor_execute")
        def heard(_c: object, _u: object, statement: str, *_: object) -> None:
            asked.extend([statement] if "FROM snapshots" in statement else [])

        first = asyncio.create_task(provider.snapshot(PRODUCTION.project_id, digest))
        await asyncio.sleep(0)
        others = [provider.snapshot(PRODUCTION.project_id, digest) for _ in range(HOSTS)]
        first.cancel()  # who goes away takes it from nobody
        blobs = await asyncio.gather(*others)
        assert None not in blobs and len({each.content for each in blobs if each is not None}) == 1
        assert len(asked) == 1
        assert provider._remembered == sum(map(len, provider._snapshots.values())) > 0
        assert await provider.snapshot(PRODUCTION.project_id, "0" * 64) is None and not provider._fetching
        await record.close()

    asyncio.run(run())


def test_a_part_that_fails_begins_again() -> None:
    async def run() -> None:
        begun = asyncio.Queue[int]()
        metrics = ControlMetrics()

        async def part() -> None:
            begun.put_nowait(1)
            raise ZeroDivisionError

        running = asyncio.create_task(keep_running("part", part, metrics, pause=0.01))
        for _ in range(3):
            await asyncio.wait_for(begun.get(), 30)
        assert not running.done() and metrics.restarts.labels("part")._value.get() >= 2
        running.cancel()

    asyncio.run(run())
