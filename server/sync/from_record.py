"""What a control plane gives to hosts: the record's projects, from memory where they have not changed.

    provider = RecordProvider(record, feed)
    await provider.load()                 the listing as it is
    await provider.run()                  and as it becomes: what others change is told to the feed within 2 s

A host is told of a change by the feed and asks at once, so what is remembered of a project is good only for the newest
number that is known here.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from typing import Final

import structlog
from sqlalchemy import select

from server.control.feed import Feed
from server.record.database import Record, RecordUnavailableError, epoch_of, identify
from server.record.projects import listing, record_of
from server.record.tables import snapshots
from server.state.records import ProjectRecord
from server.sync.messages import Changed, project_named
from server.sync.provide import Blob
from server.types import ProjectId

LOOK_EVERY: Final = (1.0, 2.0)  # seconds
SNAPSHOT_BYTES: Final = 64 << 20  # of snapshots that are remembered
RECORDS: Final = 10_000  # that are remembered


class RecordProvider:
    def __init__(self, record: Record, feed: Feed) -> None:
        self._record = record
        self._feed = feed
        self.epoch = 0
        self.generation = 0
        self._id = ""
        self._projects: dict[ProjectId, int] = {}
        self._unreachable: RecordUnavailableError | None = None
        self._records: OrderedDict[ProjectId, ProjectRecord] = OrderedDict()
        self._snapshots: OrderedDict[str, bytes] = OrderedDict()
        self._remembered = 0  # bytes of snapshots
        self._fetching: dict[str, asyncio.Task[bytes | None]] = {}  # one for all who want the same
        self._log = structlog.get_logger("sync")

    def ready(self) -> bool:
        return bool(self._id)

    def reaches_record(self) -> bool:
        return self._unreachable is None

    def source(self) -> str:
        return self._id

    def refresh(self) -> None:
        if self._unreachable is not None:  # nobody can say that this is what there is
            raise self._unreachable

    def projects(self) -> Mapping[ProjectId, int]:
        return self._projects

    async def load(self) -> None:
        """Raises RecordUnavailableError."""
        if not self._id:
            async with self._record.change() as tx:
                self._id = await identify(tx)
        async with self._record.look() as tx:
            found, self.epoch = await listing(tx), await epoch_of(tx)
        self._unreachable = None
        changed = {each: number for each, number in found.items() if number > self._projects.get(each, 0)}
        self._know(changed)
        for project, number in changed.items():
            self._feed.changed(project, number)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._look_again())

    async def record(self, project: ProjectId) -> ProjectRecord | None:
        found = self._records.get(project)
        if found is None or found.version < self._projects.get(project, 0):
            async with self._record.look() as tx:
                found = await record_of(tx, project)
            if found is None:
                return None
            self._records[project] = found
            if len(self._records) > RECORDS:
                self._records.popitem(last=False)
        return found if found.version else None

    async def snapshot(self, project: ProjectId, digest: str) -> Blob | None:
        """As it is stored."""
        name = f"{project}/{digest}"
        found = self._snapshots.get(name)
        if found is None:
            fetching = self._fetching.get(name)
            if fetching is None:
                fetching = self._fetching[name] = asyncio.create_task(self._fetch(project, digest, name))
            found = await asyncio.shield(fetching)  # who goes away takes it from nobody
        return Blob(found, packed=True) if found is not None else None

    async def _fetch(self, project: ProjectId, digest: str, name: str) -> bytes | None:
        here = (snapshots.c.tenant == project.tenant) & (snapshots.c.project == project.project)
        try:
            async with self._record.look() as tx:
                found: bytes | None = await tx.scalar(
                    select(snapshots.c.content).where(here, snapshots.c.digest == digest)
                )
        finally:
            del self._fetching[name]
        if found is not None:
            self._snapshots[name] = found
            self._remembered += len(found)
            while self._remembered > SNAPSHOT_BYTES and len(self._snapshots) > 1:
                self._remembered -= len(self._snapshots.popitem(last=False)[1])
        return found

    def listen(self) -> AsyncIterator[Changed]:
        return self._feed.listen()

    def _know(self, changed: Mapping[ProjectId, int]) -> None:
        if changed:
            self._projects.update(changed)
            self.generation += 1

    async def _follow(self) -> None:
        """What is changed here."""
        async for changed in self._feed.listen():
            project = project_named(changed.project)
            if project is not None and changed.number > self._projects.get(project, 0):
                self._know({project: changed.number})

    async def _look_again(self) -> None:
        """What is changed by other control planes; and by this one, where it died between commit and telling."""
        while True:
            await asyncio.sleep(random.uniform(*LOOK_EVERY))
            try:
                await self.load()
            except RecordUnavailableError as error:
                if self._unreachable is None:
                    self._log.error("the record cannot be reached; hosts stay as they are", why=str(error))
                self._unreachable = error
            except Exception:
                self._log.exception("a look at the record failed")
