"""What may replace what a host has: the one door for all that comes from elsewhere (ADR 0015).

    await replica.offer(ProjectRecord("shop", "web", …, version=18), fetch)

is True when record 18 is installed: it is higher than the one that is here, and every snapshot that it names was
fetched, has the digest that it names, and is verified by the engine. Anything else changes nothing but counters,
/status and the age, and raises nothing. Nothing deletes but a record that says so.

    replica.compare("upstream", {ProjectId("shop", "web"): 18})     ->  [ProjectId("shop", "web")]: to be fetched
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import structlog

from engine import Snapshot, SnapshotError
from server.metrics import AgentMetrics
from server.state.origin import FOLDER, NOTHING, note_source, noted_source
from server.state.records import ProjectRecord, Published
from server.state.snapshots import SnapshotFiles
from server.state.store import ProjectStatus, Store
from server.sync.checking import fault_of
from server.types import EnvironmentId, Problem, ProjectId, SourceState

OFFLINE = 3.0  # seconds without a listing after which a server begins with what it has
LOOK_AGAIN = 0.1  # seconds
FIRST_REFUSAL, LONGEST_REFUSAL = 1.0, 15.0  # seconds until what was refused is fetched again; doubled each time

_RECORD_ID = re.compile("[0-9a-f]{16,64}")

Fetch = Callable[[Published], Awaitable[bytes]]
Progress = Callable[[int, int], None]  # projects dealt with, of how many
Committed = Callable[[], Awaitable[None]]  # returns when workers can see what was installed


class FetchError(Exception):
    """Raised by a `fetch`: the snapshot cannot be had. `reason` is empty where that says nothing against its source."""

    def __init__(self, why: str, reason: str = "") -> None:
        super().__init__(why)
        self.reason = reason  # digest, too_large


@dataclass(frozen=True, slots=True)
class _Refusal:
    number: int
    pause: float
    until: float  # monotonic


class Replica:
    def __init__(
        self, store: Store, files: SnapshotFiles, committed: Committed, metrics: AgentMetrics, state: Path
    ) -> None:
        self._store = store
        self._files = files
        self._committed = committed
        self._metrics = metrics
        self._state = state
        self._origin = noted_source(state)
        self._locks: WeakValueDictionary[ProjectId, asyncio.Lock] = WeakValueDictionary()
        self._refused: dict[tuple[str, ProjectId], _Refusal] = {}
        self._newest: dict[
            tuple[str, ProjectId], int
        ] = {}  # numbers above ours that a source listed when last compared
        self._lower: dict[tuple[str, ProjectId], int] = {}  # numbers below ours that a source has; 0: it lists none
        self._unconfirmed: dict[str, Set[ProjectId]] = {}  # by source
        self._damaged: set[ProjectId] = set()  # those with a snapshot that is not on disk as it should be
        self._committing: set[ProjectId] = set()  # installed, and not on disk yet: workers answer from what was before
        self._sources: set[str] = set()  # whose listings were compared
        self.look = asyncio.Event()  # there is a reason to compare at once
        self._compared = asyncio.Event()  # for the first time, with whatever source
        self._untried: set[ProjectId] = set()  # of what that comparison wanted
        self._tried = asyncio.Event()
        self._log = structlog.get_logger("replica")
        for project in store.projects:
            record = store.record(project)
            if not all(files.has(record.environment_id(each.name), each) for each in record.snapshots):
                self._damaged.add(project)

    async def load(self, progress: Progress | None = None) -> None:
        """Until all that the first listing has was tried once: then the store is ready.

        Where no listing can be had it is ready too, when there is something to serve from before.
        """
        since = time.monotonic()
        while not self._compared.is_set():
            if self._store.projects and time.monotonic() - since > OFFLINE:
                self._log.warning("nothing can be compared; what is on disk is served")
                break
            await _within(LOOK_AGAIN, self._compared.wait())
        total = len(self._untried)
        while self._untried:
            if progress:
                progress(total - len(self._untried), total)
            self._tried.clear()
            await _within(LOOK_AGAIN, self._tried.wait())
        if progress and total:
            progress(total, total)
        self._store.ready = True
        self._log.info("loaded", projects=len(self._store.projects))

    def accepts(self, source: str) -> bool:
        """Are its numbers comparable with those that are here? The first that is asked for is taken for good."""
        if self._origin == NOTHING and (source == FOLDER or _RECORD_ID.fullmatch(source)):
            note_source(self._state, source)
            self._origin = source
        return source == self._origin

    @property
    def held(self) -> bool:
        return self._store.held()

    def number_of(self, project: ProjectId) -> int:
        """Of the record that is installed; 0: none."""
        return self._store.record(project).version

    def record(self, project: ProjectId) -> ProjectRecord:
        """That is installed; without anything where there is none."""
        return self._store.record(project)

    def have_again(self, project: ProjectId) -> None:
        """What is here is not all of that number: it is wanted, and installed, once more."""
        if self.number_of(project):
            self._damaged.add(project)

    def is_refused(self, project: ProjectId, number: int, source: str = "upstream") -> bool:
        """Tried lately from there, and found bad: not to be fetched again yet."""
        refusal = self._refused.get((source, project))
        return refusal is not None and refusal.number == number and time.monotonic() < refusal.until

    def wants(self, project: ProjectId, number: int, source: str = "upstream") -> bool:
        """Is it worth fetching? Whoever hears of a change asks."""
        ours = self.number_of(project)
        higher = number > ours or (number == ours and project in self._damaged)
        return higher and not self.held and not self.is_refused(project, number, source)

    def compare(
        self,
        source: str,
        listing: Mapping[ProjectId, int],
        unconfirmed: Set[ProjectId] = frozenset(),
        *,
        problem: str = "",
    ) -> list[ProjectId]:
        """What a source lists beside what is here: those to fetch. All others are confirmed by it, and are not old.

        `unconfirmed` are those that it listed some time ago, and cannot be asked for now.
        """
        self.look.clear()
        self._sources.add(source)
        self._complain(problem)
        self._store.confirmed_at = time.monotonic()
        for project in self._store.projects.keys() - listing.keys():
            self._note_lower(source, project, 0)
        wanted = []
        self._newest = {each: number for each, number in self._newest.items() if each[0] != source}
        for project, number in listing.items():
            ours = self.number_of(project)
            if number > ours:
                self._newest[source, project] = number
            if number < ours:
                self._note_lower(source, project, number)
            else:
                self._lower.pop((source, project), None)
                if self.wants(project, number, source):
                    wanted.append(project)
        self._unconfirmed[source] = unconfirmed
        listed = {project for _, project in self._newest}
        for project in list(self._store.projects):
            if project not in listed and not self.number_of(project):
                self._store.forget(project)  # it was never here, and nobody says any more that there is one
            else:
                self._judge(project)
        if not self._compared.is_set():
            self._untried.update(wanted)
            self._compared.set()
        return wanted

    def failed(self, project: ProjectId, reason: str = "") -> None:
        """Its record could not be had; it will be wanted again with the next comparison."""
        self._untried.discard(project)
        self._tried.set()
        if reason:
            self._metrics.sync_refused.labels(reason).inc()

    def lost(self, why: str) -> None:
        """No listing can be had from anywhere: all is kept, and grows old."""
        self._complain(why)

    async def offer(self, record: ProjectRecord, fetch: Fetch, *, source: str = "upstream") -> bool:
        """Installed? Returns when workers can see it."""
        try:
            return await self._offered(record, fetch, source)
        finally:
            self._untried.discard(record.id)
            self._tried.set()

    async def _offered(self, record: ProjectRecord, fetch: Fetch, source: str) -> bool:
        if fault := fault_of(record):
            self._log.error("a record is refused", source=source, why=fault)
            self._metrics.sync_refused.labels("unreadable").inc()
            return False
        project, number = record.id, record.version
        async with self._locks.setdefault(project, asyncio.Lock()):
            ours, damaged = self.number_of(project), project in self._damaged
            if number < ours:
                self._note_lower(source, project, number)
                return False
            if (number == ours and not damaged) or not self.wants(project, number, source):
                return False
            if not await self._fetch_all(record, fetch, source):
                return False
            if ours and number > ours + 1:
                self._metrics.sync_gaps.inc()
            before = self._store.record(project)
            self._store.install_record(record)
            self._damaged.discard(project)
            self._refused.pop((source, project), None)
            self._committing.add(project)
            try:
                await self._committed()
            finally:
                self._committing.discard(project)
            self._installed(before, record, source)
            return True

    async def suspect(self, environment: EnvironmentId) -> None:
        """A worker could not map what is published of it: where that is damaged, it is fetched again."""
        project = environment.project_id
        record = self._store.record(project)
        for each in record.snapshots:
            if not await self._is_good(record.environment_id(each.name), each):
                self._log.error("a snapshot is damaged on disk; it is fetched again", environment=str(environment))
                self._damaged.add(project)
                self.look.set()
                return

    async def _fetch_all(self, record: ProjectRecord, fetch: Fetch, source: str) -> bool:
        """On disk for good, all of them; those that are there already are not fetched."""
        before = set(self._store.record(record.id).snapshots) if record.id not in self._damaged else set()
        for each in record.snapshots:
            environment = record.environment_id(each.name)
            if self._files.has(environment, each) and (each in before or await self._is_good(environment, each)):
                continue
            try:
                blob = await fetch(each)
            except (FetchError, OSError, TimeoutError) as error:
                self._refuse(record, source, getattr(error, "reason", ""), f"a snapshot cannot be had: {error}")
                return False
            try:
                await asyncio.to_thread(self._write, environment, each, blob)
            except _AnotherError as error:
                self._refuse(record, source, "digest", str(error))
            except SnapshotError as error:
                self._refuse(record, source, "verify", f"a snapshot does not verify: {error}")
            except OSError as error:
                self._refuse(record, source, "disk", f"a snapshot cannot be written: {error.strerror}")
            else:
                self._metrics.sync_fetched.labels(source).inc()
                continue
            return False
        return True

    def _write(self, environment: EnvironmentId, published: Published, blob: bytes) -> None:
        if len(blob) != published.size:
            raise _AnotherError("a snapshot has another size than its record says")
        if Snapshot.from_bytes(blob).digest != published.digest:
            raise _AnotherError("a snapshot has another digest than its record says")
        self._files.put(environment, published.version, blob)

    async def _is_good(self, environment: EnvironmentId, published: Published) -> bool:
        try:
            await asyncio.to_thread(self._files.map, environment, published)
        except (OSError, SnapshotError):
            return False
        return True

    def _refuse(self, record: ProjectRecord, source: str, reason: str, why: str) -> None:
        project = record.id
        last = self._refused.get((source, project))
        again = last is not None and last.number == record.version
        pause = min(LONGEST_REFUSAL, 2 * last.pause) if last is not None and again else FIRST_REFUSAL
        if reason == "disk":
            pause = FIRST_REFUSAL  # it says nothing against what was fetched
        self._refused[source, project] = _Refusal(record.version, pause, time.monotonic() + pause)
        if reason:
            self._metrics.sync_refused.labels(reason).inc()
        if not again:
            self._log.error("a record is refused", project=str(project), number=record.version, source=source, why=why)
        old = self._store.projects.get(project)
        served = bool(self._store.record(project).environments)
        state = SourceState.STALE if served else SourceState.BROKEN
        since = old.since if old and old.state is state else time.time()
        behind = old.behind_since if old else None
        status = ProjectStatus(state, since, Problem(why), behind_since=behind or time.monotonic())
        self._store.set_status(project, status)

    def _installed(self, before: ProjectRecord, record: ProjectRecord, source: str) -> None:
        self._log.info("record installed", project=str(record.id), number=record.version, source=source)
        if before.version:
            new = [each.installed_at for each in set(record.snapshots) - set(before.snapshots)]
            for moment in new:
                self._metrics.propagation_seconds.observe(max(0.0, time.time() - moment))
        if record.gone:
            return
        self._store.set_status(record.id, ProjectStatus(SourceState.VALID, time.time()))
        self._judge(record.id)

    def _complain(self, why: str) -> None:
        last = self._store.folder_problem
        if why and why != (last.message if last else ""):
            self._log.error("everything is kept as it is", why=why)
        self._store.folder_problem = Problem(why) if why else None

    def _note_lower(self, source: str, project: ProjectId, number: int) -> None:
        if self._lower.get((source, project)) != number:
            self._lower[source, project] = number
            if number:
                self._metrics.sync_refused.labels("backwards").inc()
            else:
                self._metrics.sync_missing.inc()

    def _judge(self, project: ProjectId) -> None:
        """Does it grow old: is there a newer one, or has no source what is here?"""
        status = self._store.projects.get(project)
        if status is None:
            return
        behind = (
            any(self._newest.get((each, project), 0) > self.number_of(project) for each in self._sources)
            or project in self._damaged
            or project in self._committing
            or all(
                (each, project) in self._lower or project in self._unconfirmed.get(each, ()) for each in self._sources
            )
        )
        if behind and status.behind_since is None:
            self._store.set_status(project, replace(status, behind_since=time.monotonic()))
        elif not behind and (status.behind_since is not None or status.state is not SourceState.VALID):
            since = status.since if status.state is SourceState.VALID else time.time()
            self._store.set_status(project, ProjectStatus(SourceState.VALID, since))


async def _within(seconds: float, waiting: Coroutine[Any, Any, object]) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(waiting, seconds)


class _AnotherError(SnapshotError):
    """It is a good snapshot, or its bytes are, but not that of the record."""
