"""What the agent knows of every project: what is published of it, and how its sources stand.

    store.install(ProjectId("shop", "web"), (Published("production", 17, …),), version=17, …)

replaces the project's record, and hands it to the publisher: workers answer from it as soon as it is committed.
Everything here belongs to the event loop's thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from server.shared.page import Page
from server.state.records import KeyGrant, ProjectRecord, Published
from server.types import Problem, ProjectId, SourceState


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """How a project's document and key file stand."""

    state: SourceState
    since: float  # seconds since the epoch
    problem: Problem | None = None
    keys_problem: Problem | None = None
    behind_since: float | None = None  # monotonic; when the source was first seen to say something else


class Store:
    def __init__(
        self, page: Page, publish: Callable[[ProjectRecord], None], records: Iterable[ProjectRecord] = ()
    ) -> None:
        self._page = page
        self._publish = publish
        self.folder_problem: Problem | None = None
        self.held: Callable[[], bool] = lambda: False  # is nothing to be installed, whatever its source says?
        self._records = {each.id: each for each in records}
        self._statuses: dict[ProjectId, ProjectStatus] = {}
        self._holders = {key.digest: each.id for each in self._records.values() for key in each.keys}
        for each in self._records.values():
            if not each.gone:  # until its sources are looked at, it is what it was
                since = max((one.installed_at for one in each.environments), default=time.time())
                behind_since = page.cell(str(each.id)).behind_since or None  # as the agent before this one knew it
                self._statuses[each.id] = ProjectStatus(SourceState.VALID, since, behind_since=behind_since)

    @property
    def projects(self) -> Mapping[ProjectId, ProjectStatus]:
        return self._statuses

    @property
    def key_count(self) -> int:
        return len(self._holders)

    @property
    def ready(self) -> bool:
        return self._page.ready

    @ready.setter
    def ready(self, value: bool) -> None:
        self._page.ready = value

    @property
    def draining(self) -> bool:
        return self._page.draining

    @property
    def confirmed_at(self) -> float:
        """Monotonic seconds: the last look at the folder, or the last listing of another source that was compared."""
        return self._page.confirmed_at

    @confirmed_at.setter
    def confirmed_at(self, moment: float) -> None:
        self._page.confirmed_at = moment

    def record(self, project: ProjectId) -> ProjectRecord:
        return self._records.get(project) or ProjectRecord(*project)

    def age_of(self, project: ProjectId) -> float:
        """Seconds since what is published was last known to be what its source says."""
        status = self._statuses.get(project)
        behind_since = status.behind_since if status else None
        return time.monotonic() - (self.confirmed_at if behind_since is None else behind_since)

    def install(
        self, project: ProjectId, environments: tuple[Published, ...], *, version: int, document: bytes, compiler: str
    ) -> None:
        """Replace all environments of a project; those it no longer has are gone."""
        old = self.record(project)
        sources = msgspec.structs.replace(old.sources, document=document, compiler=compiler)
        self._replace(msgspec.structs.replace(old, environments=environments, version=version, sources=sources))

    def install_keys(
        self,
        project: ProjectId,
        keys: Iterable[KeyGrant],
        *,
        origins: Mapping[str, tuple[str, ...]] | None = None,
        file: bytes = b"",
    ) -> None:
        """Replace all keys of a project. A digest that another project holds stays with that project."""
        old = self.record(project)
        for each in old.keys:
            del self._holders[each.digest]
        held = {each.digest: each for each in keys if each.digest not in self._holders}
        self._holders.update(dict.fromkeys(held, project))
        sources = msgspec.structs.replace(old.sources, keys=file)
        self._replace(
            msgspec.structs.replace(old, keys=tuple(held.values()), origins=dict(origins or {}), sources=sources)
        )

    def install_record(self, record: ProjectRecord) -> None:
        """Replace all of a project at once, as its source gives it. Of one that is gone only its number stays.

        Workers are told of one that is the same too: a file of it was mended.
        """
        for each in self.record(record.id).keys:
            self._holders.pop(each.digest, None)
        held = tuple(each for each in record.keys if each.digest not in self._holders)
        self._holders.update(dict.fromkeys((each.digest for each in held), record.id))
        self._records[record.id] = record = msgspec.structs.replace(record, keys=held)
        self._publish(record)
        if record.gone and self._statuses.pop(record.id, None) is not None:
            self._page.cell(str(record.id)).behind_since = 0.0

    def set_status(self, project: ProjectId, status: ProjectStatus) -> None:
        self._statuses[project] = status
        if project in self._records:  # or no worker answers from it, and cells are few
            self._page.cell(str(project)).behind_since = status.behind_since or 0.0

    def forget(self, project: ProjectId) -> None:
        """How something stands that never was there."""
        self._statuses.pop(project, None)

    def remove(self, project: ProjectId) -> None:
        self.install_keys(project, ())
        self.install(project, (), version=self.record(project).version, document=b"", compiler="")
        self._statuses.pop(project, None)

    def _replace(self, record: ProjectRecord) -> None:
        """INVARIANT: its number rises with whatever is another now, so that edges know what they have not."""
        old = self._records.get(record.id)
        if old is not None and msgspec.structs.replace(record, version=old.version) == old:
            return
        if old is not None and old.version and record.version <= old.version:
            record = msgspec.structs.replace(record, version=old.version + 1)
        self._records[record.id] = record
        self._publish(record)
