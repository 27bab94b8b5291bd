"""The source over HTTP: whoever `--upstream` names, or the control plane of this server by its Unix socket.

    heard of a change, or a listing compared  ->  which projects are wanted  ->  record, snapshots  ->  replica.offer

Events only say where to look. Every 3 s or so the listing is compared, which finds all that was missed. With several
edge keys there is a listing and a stream for each; a project that more than one of them opens is put together.
Nothing that is answered, or is not, ever makes the host forget anything: what cannot be had grows old.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from server.state.records import KeyGrant, ProjectRecord, Published
from server.sync.asking import Asker, AskError
from server.sync.messages import Listing, project_named
from server.sync.replica import Replica
from server.types import ProjectId

NAME: Final = "upstream"
INTERVAL: Final = 3.0  # seconds between two listings
FIRST_PAUSE: Final = 0.5  # seconds after a failure; doubled each time, times a factor of 0.5 to 1.5
LONGEST_PAUSE: Final = 2.0  # of listings: they are asked for as often when all is well
LONGEST_STREAM_PAUSE: Final = 15.0  # of event streams, until a listing says that it is there again
PARALLEL: Final = 8  # projects that are fetched at once


class Upstream:
    def __init__(self, askers: Sequence[Asker], replica: Replica) -> None:
        self._askers = tuple(askers)
        self._replica = replica
        self._listings: dict[Asker, dict[ProjectId, int]] = {}
        self._queue: asyncio.Queue[ProjectId] = asyncio.Queue()
        self._queued: set[ProjectId] = set()
        self._running: set[ProjectId] = set()
        self._again: set[ProjectId] = set()  # wanted once more while they are dealt with
        self._there = {each: asyncio.Event() for each in self._askers}
        self._log = structlog.get_logger(NAME)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._compare_again())
                for asker in self._askers:
                    tasks.create_task(self._listen(asker))
                for _ in range(PARALLEL):
                    tasks.create_task(self._work())
        finally:
            for asker in self._askers:
                await asker.close()

    async def fetch(self, project: ProjectId, published: Published) -> bytes:
        """A snapshot, for another source that lacks it. Raises FetchError."""
        return await self._fetch(self._askers, project, published)

    async def _compare_again(self) -> None:
        pause = 0.0
        while True:
            if await self._compare():
                pause = 0.0
                wait = INTERVAL * random.uniform(0.7, 1.3)
            else:
                pause = min(LONGEST_PAUSE, 2 * pause or FIRST_PAUSE)
                wait = pause * random.uniform(0.5, 1.5)
            try:
                async with asyncio.timeout(wait):
                    await self._replica.look.wait()
            except TimeoutError:
                continue

    async def _compare(self) -> bool:
        """All listings beside what is here. False: none could be had."""
        answers = await asyncio.gather(*(asker.listing() for asker in self._askers), return_exceptions=True)
        failed: dict[Asker, str] = {}
        for asker, answer in zip(self._askers, answers, strict=True):
            if isinstance(answer, AskError):
                failed[asker] = str(answer)
                self._there[asker].clear()
            elif isinstance(answer, BaseException):
                raise answer
            elif answer is None or self._take(asker, answer):
                self._there[asker].set()
            else:
                failed[asker] = "its numbers are those of another record (hint: another --state for another upstream)"
        why = "; ".join(sorted({f"`{asker.title}`: {each}" for asker, each in failed.items()}))
        if len(failed) == len(self._askers):
            self._replica.lost(f"nothing can be compared: {why}")
            return False
        merged: dict[ProjectId, int] = {}
        unconfirmed: set[ProjectId] = set()
        for asker, listing in self._listings.items():
            if asker in failed:
                unconfirmed |= listing.keys()
            for project, number in listing.items():
                merged[project] = max(number, merged.get(project, 0))
        unconfirmed -= self._confirmed_by_others(failed)
        problem = f"a part cannot be compared: {why}" if why else ""
        for project in self._replica.compare(NAME, merged, unconfirmed, problem=problem):
            self._want(project)
        return True

    def _confirmed_by_others(self, failed: Mapping[Asker, str]) -> set[ProjectId]:
        return {each for asker, listing in self._listings.items() if asker not in failed for each in listing}

    def _take(self, asker: Asker, listing: Listing) -> bool:
        if not self._replica.accepts(listing.source):
            asker.forget()
            return False
        named = ((project_named(name), number) for name, number in listing.projects.items())
        self._listings[asker] = {project: number for project, number in named if project is not None}
        return True

    async def _listen(self, asker: Asker) -> None:
        """Each event says where to look; a stream that begins says that something may have been missed."""
        pause = FIRST_PAUSE
        while True:
            try:
                async for changed in asker.events():
                    pause = FIRST_PAUSE
                    if changed is None:
                        self._replica.look.set()
                        continue
                    project = project_named(changed.project)
                    if project is not None and self._replica.wants(project, changed.number, NAME):
                        self._listings.setdefault(asker, {})[project] = changed.number
                        asker.forget()  # a 304 would confirm the listing before, and not what was heard here
                        self._want(project)
            except AskError as error:
                self._log.debug("the event stream ended", upstream=asker.title, why=str(error))
            wait, there = pause * random.uniform(0.5, 1.5), self._there[asker]
            if there.is_set():
                await asyncio.sleep(wait)
            else:  # a listing that comes says that it is back
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(there.wait(), wait)
            pause = min(LONGEST_STREAM_PAUSE, 2 * pause)

    def _want(self, project: ProjectId) -> None:
        if project in self._running:
            self._again.add(project)
        elif project not in self._queued:
            self._queued.add(project)
            self._queue.put_nowait(project)

    async def _work(self) -> None:
        while True:
            project = await self._queue.get()
            self._queued.discard(project)
            self._running.add(project)
            try:
                await self._deal_with(project)
            except AskError as error:
                self._log.warning("a project cannot be fetched", project=str(project), why=str(error))
                self._replica.failed(project, error.reason)
            except Exception:
                self._log.exception("a project could not be dealt with", project=str(project))
                self._replica.failed(project)
            self._running.discard(project)
            if project in self._again:
                self._again.discard(project)
                self._want(project)

    async def _deal_with(self, project: ProjectId) -> None:
        asked = [each for each in self._askers if project in self._listings.get(each, {})]
        records = [await each.record(project) for each in asked]
        if not records:
            return
        newest = max(each.version for each in records)
        if any(each.version < newest for each in records):
            raise AskError("its parts are of different moments")  # the next look finds them equal

        async def fetch(published: Published) -> bytes:
            having = [asker for asker, record in zip(asked, records, strict=True) if published in record.snapshots]
            return await self._fetch(having, project, published)

        await self._replica.offer(merged(records), fetch, source=NAME)

    async def _fetch(self, askers: Sequence[Asker], project: ProjectId, published: Published) -> bytes:
        last = AskError("nobody has it")
        for asker in askers:
            try:
                return await asker.snapshot(project, published)
            except AskError as error:
                last = error
        raise last


def merged(records: Sequence[ProjectRecord]) -> ProjectRecord:
    """One project as several edge keys see it, put together."""
    first, *others = records
    if not others:
        return first
    environments = {each.name: each for record in records for each in record.environments}
    keys: dict[bytes, KeyGrant] = {}
    for record in records:
        for key in record.keys:
            known = keys.get(key.digest)
            open_to = dict.fromkeys((*(known.environments if known else ()), *key.environments))
            keys[key.digest] = KeyGrant(key.digest, key.selector, key.kind, tuple(open_to), key.expires)
    canaries = {each.published.name: each for record in records for each in record.canaries}
    origins = {name: allowed for record in records for name, allowed in record.origins.items()}
    return ProjectRecord(
        first.tenant,
        first.project,
        tuple(environments.values()),
        tuple(keys.values()),
        origins,
        first.version,
        canaries=tuple(canaries.values()),
    )
