"""From the agent's store to every worker: records into the journal, the position into the shared page, a ring.

    publish(record)  ->  …  ->  journal.append([…])  ->  page.position = …  ->  bells

All records that wait are committed together, so ten thousand take not ten thousand syncs. A disk that cannot be
written to delays them and loses none: they are tried again, and what was served is served on. A journal that a worker
cannot read is written anew from what the agent knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from server.shared.page import Page
from server.state.committed import Committed
from server.state.journal import Journal
from server.state.records import ProjectRecord
from server.state.snapshots import SnapshotFiles
from server.types import Problem, ProjectId

RETRY_SECONDS = 1.0


class Publisher:
    def __init__(self, journal: Journal, files: SnapshotFiles, page: Page, ring: Callable[[], None]) -> None:
        self._journal = journal
        self._files = files
        self._page = page
        self._ring = ring
        self._waiting: dict[ProjectId, ProjectRecord] = {}
        self._changed = asyncio.Event()
        self._committed = asyncio.Event()
        self._suspected = False  # a worker could not read the journal
        self.problem: Problem | None = None
        self.history = Committed(journal.position, journal.records.values())
        self._listeners: list[Callable[[], None]] = []
        self._log = structlog.get_logger("publisher")

    def publish(self, record: ProjectRecord) -> None:
        """Soon; the latest of a project wins."""
        self._waiting[record.id] = record
        self._changed.set()
        self._committed.clear()

    def on_commit(self, listener: Callable[[], None]) -> None:
        """To be told, in the event loop, when workers can see something new."""
        self._listeners.append(listener)

    async def committed(self) -> None:
        """Returns when workers can see all that was published before the call."""
        if self._waiting or self._changed.is_set():
            await self._committed.wait()

    def suspect_journal(self) -> None:
        """Somebody could not read it: look, and write it anew where that is so."""
        self._suspected = True
        self._changed.set()

    async def run(self) -> None:
        self._show(self._journal.position)
        while True:
            await self._changed.wait()
            self._changed.clear()
            batch = list(self._waiting.values())
            try:
                if self._suspected:
                    await asyncio.to_thread(self._mend)
                    self._suspected = False
                await asyncio.to_thread(self._commit, batch)
            except OSError as error:
                if self.problem is None:
                    self._log.error("the journal cannot be written; workers stay as they are", why=error.strerror)
                self.problem = Problem(f"the journal cannot be written: {error.strerror}")
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.problem = None
            for listener in self._listeners:
                listener()
            for each in batch:
                if self._waiting.get(each.id) is each:
                    del self._waiting[each.id]
            if not self._waiting:
                self._committed.set()

    def _commit(self, batch: list[ProjectRecord]) -> None:
        before = {each.id: self._journal.records.get(each.id) for each in batch}
        if not batch:
            return
        position = self._journal.append(batch)
        self.history.note(batch, position)
        self._show(position)
        for each in batch:
            last = before[each.id]
            wanted = (*each.snapshots, *(last.snapshots if last and not each.gone else ()))
            newest = max(each.version, *(one.version for one in wanted)) if wanted else each.version
            self._files.keep_only(each.id, wanted, up_to=newest)
        try:
            self._page.position = self._journal.compact()
        except OSError as error:  # what was appended is served all the same
            self._log.warning("the journal cannot be compacted", why=error.strerror)

    def _mend(self) -> None:
        if not self._journal.is_whole():
            self._log.error("the journal is damaged on disk; it is written anew")
            self._show(self._journal.renew())

    def _show(self, position: int) -> None:
        self._page.position = position
        self._ring()
