"""A worker's view of what is published: keys at hand, snapshots mapped when somebody first asks for them.

    catalog.grant(digest_of(key))     -> Grant or None
    catalog.served(environment_id)    -> Served or None

It follows the journal to the position in the shared page, whenever bytes arrive. What cannot be read or mapped
changes nothing: the version before is served on, and the agent is told, who writes anew what is damaged. A request
takes its `Served` once, so it is answered from one snapshot whatever is published meanwhile. Above `budget` bytes the
snapshots that nobody asked for longest are let go; they are on disk, and mapped again when asked for.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from engine import Snapshot, SnapshotError
from server.shared.page import Block, Cell, Page
from server.state.journal import JournalError, Reader
from server.state.records import ProjectRecord, Published
from server.state.snapshots import SnapshotFiles
from server.types import EnvironmentId, Grant, ProjectId

RETRY_SECONDS = 1.0  # until a journal or a file that could not be read is tried again
JOURNAL = "journal"  # the complaint that it cannot be read; any other names an environment whose snapshot cannot


class Served:
    """One environment as this process answers it. Replaced with another version, not edited but for the last three."""

    __slots__ = ("counted", "id", "placed_at", "project_cell", "published", "snapshot", "summed", "used_at", "version")

    def __init__(self, identity: EnvironmentId, published: Published, snapshot: Snapshot, project_cell: Cell) -> None:
        self.id = identity
        self.published = published
        self.snapshot = snapshot
        self.version = str(published.version)  # as the `Burgee-Version` header has it
        self.project_cell = project_cell
        self.used_at = self.placed_at = time.monotonic()
        self.summed = self.counted = 0  # of snapshot.evaluated: what server/evaluations/tally.py has seen of it


class Catalog:
    def __init__(
        self,
        state: Path,
        page: Page,
        block: Block,
        *,
        budget: int,
        max_age: float = 0.0,
        most: int = 1 << 15,
        workers: int = 1,
        complain: Callable[[str], None] = lambda about: None,
    ) -> None:
        """At most `budget` bytes in `most` snapshots are mapped: each takes a descriptor and a mapping.

        `block` says which of so many `workers` this one is, and so which canaries are for it.

        `max_age` in seconds: older answers say that they are stale; 0: none does.
        """
        self._max_age = max_age
        self._page = page
        self._block = block
        self._workers = workers
        self._budget = budget
        self._most = most
        self._complain = complain
        self.leaving = False  # this process answers no new connections
        self._reader = Reader(state)
        self._files = SnapshotFiles(state)
        self._records: dict[ProjectId, ProjectRecord] = {}
        self._gone: dict[ProjectId, int] = {}  # numbers of projects that are no more
        self._grants: dict[bytes, Grant] = {}
        self._digests: dict[tuple[ProjectId, str], bytes] = {}  # by selector, which no two keys of a project share
        self._origins: Counter[str] = Counter()  # over all projects and environments
        self._mapped: dict[EnvironmentId, Served] = {}  # roughly those first that nobody asked for longest
        self._mapped_bytes = 0
        self._failed: dict[tuple[EnvironmentId, Published], float] = {}  # until when it is not tried again
        self._newest: dict[EnvironmentId, int] = {}  # versions of canaries that this process has answered from
        self._retry_at = 0.0
        self._listeners: list[Callable[[Iterable[ProjectId]], None]] = []
        self._map_listeners: list[Callable[[Served], None]] = []
        self._let_go_listeners: list[Callable[[Served], None]] = []
        self._log = structlog.get_logger("catalog")

    @property
    def position(self) -> int:
        """Of the journal, as far as it was applied."""
        return self._reader.position

    @property
    def loaded(self) -> bool:
        """Is all here that was published when this process started?"""
        return self._reader.position != 0 or self._page.position == 0

    @property
    def ready(self) -> bool:
        """Is a key that is not known here one that there is not?"""
        return self._page.ready and self.loaded

    @property
    def draining(self) -> bool:
        return self.leaving or self._page.draining

    def on_change(self, listener: Callable[[Iterable[ProjectId]], None]) -> None:
        """To be told of projects whose environments or keys are others now, or were let go."""
        self._listeners.append(listener)

    def on_map(self, listener: Callable[[Served], None]) -> None:
        """To be told of each that was mapped, before it answers anything."""
        self._map_listeners.append(listener)

    def on_let_go(self, listener: Callable[[Served], None]) -> None:
        """To be told of each that answers no more."""
        self._let_go_listeners.append(listener)

    def mapped(self) -> list[Served]:
        return list(self._mapped.values())

    def refresh(self) -> None:
        """Apply what was committed since; costs nothing when that is nothing."""
        position = self._page.position
        if position == self._reader.position or time.monotonic() < self._retry_at:
            return
        try:
            records = self._reader.read_to(position)
        except (OSError, JournalError) as error:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._log.error("the journal cannot be read; all is served on as it was", why=str(error))
            self._complain(JOURNAL)
            return
        for each in records:
            self._apply(each)
        self._block.position = position
        self._tell({each.id for each in records})

    def grant(self, digest: bytes) -> Grant | None:
        return self._grants.get(digest)

    def grant_of(self, project: ProjectId, selector: str) -> Grant | None:
        return self._grants.get(self._digests.get((project, selector), b""))

    def numbers(self) -> dict[ProjectId, int]:
        """Of every project, those that are gone too."""
        return {each.id: each.version for each in self._records.values()} | self._gone

    def record(self, project: ProjectId) -> ProjectRecord | None:
        gone = self._gone.get(project)
        return self._records.get(project) if gone is None else ProjectRecord(*project, version=gone)

    def origins_of(self, environment: EnvironmentId) -> tuple[str, ...]:
        """Whose pages may use client keys for it; `*`: all."""
        record = self._records.get(environment.project_id)
        return record.origins.get(environment.environment, ()) if record else ()

    def allows(self, environment: EnvironmentId, origin: str) -> bool:
        """May its pages use client keys for the environment?"""
        listed = self.origins_of(environment)
        return origin in listed or "*" in listed

    def knows_origin(self, origin: str) -> bool:
        """Is it allowed somewhere?"""
        return origin in self._origins or "*" in self._origins

    def is_gone(self, environment: EnvironmentId) -> bool:
        """The project is served, but has no such environment any more."""
        record = self._records.get(environment.project_id)
        return record is not None and bool(record.environments) and self.published(environment) is None

    def served(self, environment: EnvironmentId) -> Served | None:
        """None where there is no such environment, or its file is no good and it was never served here."""
        published = self.published(environment)
        served = self._mapped.get(environment)
        if published is not None and (served is None or served.published != published):
            return self._map(environment, published) or served or self._instead(environment, published)
        if served is not None:
            served.used_at = time.monotonic()
        return served

    def age_of(self, served: Served) -> float:
        """Seconds since this snapshot was last known to be what its source says."""
        behind_since = served.project_cell.behind_since
        return time.monotonic() - (behind_since or self._page.confirmed_at)

    def stale(self, served: Served) -> int | None:
        """Its age in whole seconds where that is too much, as the engine takes it."""
        age = self.age_of(served) if self._max_age else 0.0
        return int(age) if age > self._max_age else None

    def published(self, environment: EnvironmentId) -> Published | None:
        """What this process is to answer from: where a canary is for it, that one."""
        record = self._records.get(environment.project_id)
        return record.published(environment.environment, self._block.slot, self._workers) if record else None

    def _apply(self, record: ProjectRecord) -> None:
        old = self._records.get(record.id)
        if record.version < (old.version if old is not None else self._gone.get(record.id, 0)):
            return  # from a journal that lost the newer one; it comes again
        for key in old.keys if old else ():
            self._digests.pop((record.id, key.selector), None)
            grant = self._grants.get(key.digest)
            if grant is not None and grant.project == record.id:  # and not another project's by now
                del self._grants[key.digest]
        for origin in itertools.chain.from_iterable(old.origins.values() if old else ()):
            self._origins[origin] -= 1
            if not self._origins[origin]:
                del self._origins[origin]
        for key in record.keys:
            environments = tuple(record.environment_id(name) for name in key.environments)
            self._grants[key.digest] = Grant(key.digest, key.selector, key.kind, record.id, environments, key.expires)
            self._digests[record.id, key.selector] = key.digest
        self._records.pop(record.id, None)
        self._gone.pop(record.id, None)
        if record.gone:
            self._gone[record.id] = record.version
        else:
            self._records[record.id] = record
            self._origins.update(itertools.chain.from_iterable(record.origins.values()))
        names = {each.name for each in record.environments}
        for each in old.snapshots if old else ():
            self._failed.pop((record.environment_id(each.name), each), None)
            if each.name not in names:
                self._newest.pop(record.environment_id(each.name), None)
                self._let_go(record.environment_id(each.name))

    def _map(self, environment: EnvironmentId, published: Published) -> Served | None:
        failed_until = self._failed.get((environment, published))
        if failed_until is not None and time.monotonic() < failed_until:
            return None
        try:
            snapshot = self._files.map(environment, published)
        except (OSError, SnapshotError) as error:
            self._failed[environment, published] = time.monotonic() + RETRY_SECONDS
            self._block.map_failures += 1
            if failed_until is None:
                self._log.error("a snapshot cannot be mapped", environment=str(environment), why=str(error))
                self._complain(f"{environment}@{published.version}")
            return None
        self._failed.pop((environment, published), None)
        self._let_go(environment)
        served = Served(environment, published, snapshot, self._page.cell(str(environment.project_id)))
        for each in self._map_listeners:
            each(served)
        self._mapped[environment] = served
        if self._records[environment.project_id].canaries:
            self._newest[environment] = published.version
        self._mapped_bytes += published.size
        self._block.maps += 1
        self._make_room(served)
        self._block.mapped, self._block.mapped_bytes = len(self._mapped), self._mapped_bytes
        return served

    def _instead(self, environment: EnvironmentId, canary: Published) -> Served | None:
        """The live one, where a canary cannot be mapped and this process has nothing yet.

        INVARIANT: not where it has answered from that canary before: nobody goes back.
        """
        record = self._records.get(environment.project_id)
        live = record.published(environment.environment) if record else None
        if live is None or live == canary or live.version < self._newest.get(environment, 0):
            return None
        return self._map(environment, live)

    def _let_go(self, environment: EnvironmentId) -> None:
        served = self._mapped.pop(environment, None)
        if served is not None:
            self._mapped_bytes -= served.published.size
            self._block.mapped, self._block.mapped_bytes = len(self._mapped), self._mapped_bytes
            for each in self._let_go_listeners:
                each(served)

    def _make_room(self, keep: Served) -> None:
        """A clock: who comes to its hand goes, or, having been asked for meanwhile, to the end of the line."""
        gone = set()
        while self._mapped_bytes > self._budget or len(self._mapped) > self._most:
            served = next(iter(self._mapped.values()))
            if served is keep:
                break
            if served.used_at > served.placed_at:
                served.placed_at = served.used_at
                self._mapped[served.id] = self._mapped.pop(served.id)
                continue
            self._let_go(served.id)
            gone.add(served.id.project_id)
            self._block.evictions += 1
        if gone:
            self._tell(gone)

    def _tell(self, projects: Iterable[ProjectId]) -> None:
        for each in self._listeners:
            each(projects)
