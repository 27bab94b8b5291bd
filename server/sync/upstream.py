"""The source over HTTP: whoever `--upstream` names, or the control plane of this server by its Unix socket.

    heard of a change, or a listing compared  ->  which projects are wanted  ->  record, snapshots  ->  replica.offer

Events only say where to look. Every 3 s or so the listing is compared, which finds all that was missed. With several
edge keys there is a listing and a stream for each; a project that more than one of them opens is put together, and put
together again when another key is heard. Of a key that was not heard yet, what is on disk is kept.
Nothing that is answered, or is not, ever makes the host forget anything: what cannot be had grows old.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from server.state.records import KeyGrant, ProjectRecord, Published, Sources
from server.sync.asking import MARK_BYTES, Asker, AskError
from server.sync.messages import Listing, project_named
from server.sync.replica import Replica
from server.sync.scope import Scope
from server.types import ProjectId

NAME: Final = "upstream"
INTERVAL: Final = 3.0  # seconds between two listings
FIRST_PAUSE: Final = 0.5  # seconds after a failure; doubled each time, times a factor of 0.5 to 1.5
LONGEST_PAUSE: Final = 1.0  # of listings: who comes back is to be noticed within 2 s; times a factor of 0.5 to 1
LONGEST_STREAM_PAUSE: Final = 15.0  # of event streams, until a listing says that it is there again
PARALLEL: Final = 8  # projects that are fetched at once


class Upstream:
    def __init__(self, askers: Sequence[Asker], replica: Replica) -> None:
        self._askers = tuple(askers)
        self._replica = replica
        self._listings: dict[Asker, dict[ProjectId, int]] = {}
        self._listed: set[Asker] = set()  # those that gave a whole listing once
        self._marks = frozenset(each.mark for each in self._askers if each.mark)
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
            try:
                compared = await self._compare()
            except Exception as error:  # the host outlives what it was not written for
                if not pause:
                    self._log.exception("the listings cannot be compared")
                self._replica.lost(
                    f"nothing can be compared: {getattr(error, 'strerror', None) or type(error).__name__}"
                )
                for asker in self._askers:
                    asker.forget()  # what it said was not taken
                compared = False
            if compared:
                pause = 0.0
                wait = INTERVAL * random.uniform(0.7, 1.3)
            else:
                pause = min(LONGEST_PAUSE, 2 * pause or FIRST_PAUSE)
                wait = pause * random.uniform(0.5, 1.0)
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
            if isinstance(answer, Exception):
                failed[asker] = str(answer) if isinstance(answer, AskError) else type(answer).__name__
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
        for project in merged:
            if not self._is_put_together(project, failed):
                self._replica.have_again(project)
        problem = f"a part cannot be compared: {why}" if why else ""
        for project in self._replica.compare(NAME, merged, unconfirmed, problem=problem):
            self._want(project)
        return True

    def _is_put_together(self, project: ProjectId, failed: Mapping[Asker, str]) -> bool:
        """Was what is here made with all keys that see it now, and with none that is not ours any more?"""
        if not self._marks:
            return True
        made_with = marks_of(self._replica.record(project))
        seen_by = {each.mark for each in self._listed - failed.keys() if project in self._listings[each]}
        return seen_by <= made_with <= self._marks

    def _confirmed_by_others(self, failed: Mapping[Asker, str]) -> set[ProjectId]:
        return {each for asker, listing in self._listings.items() if asker not in failed for each in listing}

    def _take(self, asker: Asker, listing: Listing) -> bool:
        if not self._replica.accepts(listing.source):
            asker.forget()
            return False
        named = ((project_named(name), number) for name, number in listing.projects.items())
        self._listings[asker] = {project: number for project, number in named if project is not None}
        self._listed.add(asker)
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
            except Exception:
                self._log.exception("the event stream cannot be read", upstream=asker.title)
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
        records: dict[Asker, ProjectRecord] = {}
        lacking: AskError | None = None
        for asker in asked:
            try:
                records[asker] = await asker.record(project)
            except AskError as error:
                lacking = error
        if not asked:
            return
        ours = self._replica.record(project)
        if lacking is not None and not (ours.environments and _covers(records.values(), ours)):
            raise lacking
        newest = max(each.version for each in records.values())
        if any(each.version < newest for each in records.values()):
            raise AskError("its parts are of different moments")  # the next look finds them equal

        async def fetch(published: Published) -> bytes:
            having = [asker for asker, record in records.items() if published in record.snapshots]
            return await self._fetch(having, project, published)

        record = merged(list(records.values()))
        if self._listed != set(self._askers):  # a key that was never heard may see what the others do not
            record = merged([record, _beside(record, ours)])
        if self._marks:
            sources = Sources(keys=b"".join(sorted(each.mark for each in records)))
            record = msgspec.structs.replace(record, sources=sources)
        await self._replica.offer(record, fetch, source=NAME)

    async def _fetch(self, askers: Sequence[Asker], project: ProjectId, published: Published) -> bytes:
        last = AskError("nobody has it")
        for asker in askers:
            try:
                return await asker.snapshot(project, published)
            except AskError as error:
                last = error
        raise last


def marks_of(record: ProjectRecord) -> set[bytes]:
    """The edge keys that it was put together with, as `Asker.mark` names them."""
    marks = record.sources.keys
    return {marks[at : at + MARK_BYTES] for at in range(0, len(marks), MARK_BYTES)}


def _covers(records: Iterable[ProjectRecord], ours: ProjectRecord) -> bool:
    names = {each.name for record in records for each in record.environments}
    return all(each.name in names for each in ours.environments)


def _beside(record: ProjectRecord, ours: ProjectRecord) -> ProjectRecord:
    """What is here of the environments that a record does not have, with its number."""
    mine = tuple(each.name for each in ours.environments if record.published(each.name) is None)
    return msgspec.structs.replace(Scope(environments=mine or ("",)).narrow(ours), version=record.version)


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
