"""A worker's view of what is published: keys at hand, snapshots mapped when somebody first asks for them.

    catalog.grant(digest_of(key))     -> Grant or None
    catalog.served(environment_id)    -> Served or None

It follows the journal to the position in the shared page, whenever bytes arrive. What cannot be read or mapped
changes nothing: the version before is served on. A request takes its `Served` once, so it is answered from one
snapshot whatever is published meanwhile. Above `budget` bytes the snapshots that nobody asked for longest are let go;
they are on disk, and mapped again when asked for.
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


class Served:
    """One environment as this process answers it. Replaced with another version, not edited but for the last three."""

    __slots__ = ("counted", "id", "project_cell", "published", "snapshot", "summed", "used_at", "version")

    def __init__(self, identity: EnvironmentId, published: Published, snapshot: Snapshot, project_cell: Cell) -> None:
        self.id = identity
        self.published = published
        self.snapshot = snapshot
        self.version = str(published.version)  # as the `Burgee-Version` header has it
        self.project_cell = project_cell
        self.used_at = time.monotonic()
        self.summed = self.counted = 0  # of snapshot.evaluated: what server/evaluations/tally.py has seen of it


class Catalog:
    def __init__(self, state: Path, page: Page, block: Block, *, budget: int, max_age: float = 0.0) -> None:
        """`max_age` in seconds: older answers say that they are stale; 0: none does."""
        self._page = page
        self._block = block
        self._max_age = max_age
        self._budget = budget  # bytes of snapshots
        self._reader = Reader(state)
        self._files = SnapshotFiles(state)
        self._records: dict[ProjectId, ProjectRecord] = {}
        self._grants: dict[bytes, Grant] = {}
        self._digests: dict[tuple[ProjectId, str], bytes] = {}  # by selector, which no two keys of a project share
        self._origins: Counter[str] = Counter()  # over all projects and environments
        self._mapped: dict[EnvironmentId, Served] = {}
        self._mapped_bytes = 0
        self._failed: dict[EnvironmentId, tuple[Published, float]] = {}
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
    def ready(self) -> bool:
        return self._page.ready

    @property
    def draining(self) -> bool:
        return self._page.draining

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
            return
        for each in records:
            self._apply(each)
        self._block.position = position
        self._tell({each.id for each in records})

    def grant(self, digest: bytes) -> Grant | None:
        return self._grants.get(digest)

    def grant_of(self, project: ProjectId, selector: str) -> Grant | None:
        return self._grants.get(self._digests.get((project, selector), b""))

    def origins_of(self, environment: EnvironmentId) -> tuple[str, ...]:
        """Whose pages may use client keys for it; `*`: all."""
        record = self._records.get(environment.project_id)
        return record.origins.get(environment.environment, ()) if record else ()

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
        if published is None or (served is not None and served.published == published):
            return served
        return self._map(environment, published) or served

    def age_of(self, served: Served) -> float:
        """Seconds since this snapshot was last known to be what its source says."""
        behind_since = served.project_cell.behind_since
        return time.monotonic() - (behind_since or self._page.confirmed_at)

    def stale(self, served: Served) -> int | None:
        """Its age in whole seconds where that is too much, as the engine takes it."""
        age = self.age_of(served) if self._max_age else 0.0
        return int(age) if age > self._max_age else None

    def published(self, environment: EnvironmentId) -> Published | None:
        record = self._records.get(environment.project_id)
        return (
            next((each for each in record.environments if each.name == environment.environment), None)
            if record
            else None
        )

    def _apply(self, record: ProjectRecord) -> None:
        old = self._records.pop(record.id, None)
        for key in old.keys if old else ():
            self._grants.pop(key.digest, None)
            self._digests.pop((record.id, key.selector), None)
        for origin in itertools.chain.from_iterable(old.origins.values() if old else ()):
            self._origins[origin] -= 1
            if not self._origins[origin]:
                del self._origins[origin]
        for key in record.keys:
            environments = tuple(record.environment_id(name) for name in key.environments)
            self._grants[key.digest] = Grant(key.digest, key.selector, key.kind, record.id, environments, key.expires)
            self._digests[record.id, key.selector] = key.digest
        if not record.gone:
            self._records[record.id] = record
            self._origins.update(itertools.chain.from_iterable(record.origins.values()))
        names = {each.name for each in record.environments}
        for each in old.environments if old else ():
            if each.name not in names:
                self._let_go(record.environment_id(each.name))

    def _map(self, environment: EnvironmentId, published: Published) -> Served | None:
        failed = self._failed.get(environment)
        if failed is not None and failed[0] == published and time.monotonic() < failed[1]:
            return None
        try:
            snapshot = self._files.map(environment, published)
        except (OSError, SnapshotError) as error:
            self._failed[environment] = published, time.monotonic() + RETRY_SECONDS
            self._block.map_failures += 1
            self._log.error("a snapshot cannot be mapped", environment=str(environment), why=str(error))
            return None
        self._failed.pop(environment, None)
        self._let_go(environment)
        served = Served(environment, published, snapshot, self._page.cell(str(environment.project_id)))
        for each in self._map_listeners:
            each(served)
        self._mapped[environment] = served
        self._mapped_bytes += published.size
        self._block.maps += 1
        self._make_room(keep=environment)
        self._block.mapped, self._block.mapped_bytes = len(self._mapped), self._mapped_bytes
        return served

    def _let_go(self, environment: EnvironmentId) -> None:
        served = self._mapped.pop(environment, None)
        if served is not None:
            self._mapped_bytes -= served.published.size
            self._block.mapped, self._block.mapped_bytes = len(self._mapped), self._mapped_bytes
            for each in self._let_go_listeners:
                each(served)

    def _make_room(self, keep: EnvironmentId) -> None:
        """Down to nine tenths, so that it is not looked for room again at once."""
        if self._mapped_bytes <= self._budget:
            return
        gone = set()
        for served in sorted(self._mapped.values(), key=lambda each: each.used_at):
            if served.id != keep:
                self._let_go(served.id)
                gone.add(served.id.project_id)
                self._block.evictions += 1
            if self._mapped_bytes <= self._budget * 0.9:
                break
        self._tell(gone)

    def _tell(self, projects: Iterable[ProjectId]) -> None:
        for each in self._listeners:
            each(projects)
