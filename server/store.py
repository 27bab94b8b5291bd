"""What is served now: environments, keys, and how each project's sources stand.

    store.grant(digest_of(key))       -> Grant or None
    store.served(environment_id)      -> Served or None

Everything here belongs to the event loop's thread and changes between two of its steps, so a request that takes its
`Served` once is answered from one snapshot, whatever is installed meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from server.types import EnvironmentId, Grant, Problem, ProjectId, Served, SourceState


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """How a project's document and key file stand."""

    state: SourceState
    since: float  # seconds since the epoch
    environments: tuple[str, ...] = ()
    problem: Problem | None = None
    keys_problem: Problem | None = None
    behind_since: float | None = None  # monotonic; when the source was first seen to say something else


class Store:
    def __init__(self) -> None:
        self.ready = False  # every project has been tried once
        self.generation = 0  # goes up with every change of what is served or of what keys open
        self.draining = False
        self.confirmed_at = time.monotonic()  # the last look at the folder
        self.folder_problem: Problem | None = None
        self._environments: dict[EnvironmentId, Served] = {}
        self._grants: dict[bytes, Grant] = {}
        self._digests: dict[ProjectId, tuple[bytes, ...]] = {}
        self._projects: dict[ProjectId, ProjectStatus] = {}

    @property
    def environments(self) -> Mapping[EnvironmentId, Served]:
        return self._environments

    @property
    def projects(self) -> Mapping[ProjectId, ProjectStatus]:
        return self._projects

    @property
    def key_count(self) -> int:
        return len(self._grants)

    def served(self, environment: EnvironmentId) -> Served | None:
        return self._environments.get(environment)

    def grant(self, digest: bytes) -> Grant | None:
        return self._grants.get(digest)

    def age_of(self, served: Served) -> float:
        """Seconds since this snapshot was last known to be what its source says."""
        status = self._projects.get(served.id.project_id)
        behind_since = status.behind_since if status else None
        return time.monotonic() - (self.confirmed_at if behind_since is None else behind_since)

    def install(self, project: ProjectId, environments: Iterable[Served]) -> None:
        """Replace all environments of a project; those it no longer has are gone."""
        self.generation += 1
        new = {each.id: each for each in environments}
        for name in self._projects[project].environments if project in self._projects else ():
            if (old := EnvironmentId(*project, name)) not in new:
                self._environments.pop(old, None)
        self._environments.update(new)

    def install_keys(self, project: ProjectId, grants: Iterable[Grant]) -> None:
        """Replace all keys of a project. A digest that another project holds stays with that project."""
        self.generation += 1
        for digest in self._digests.pop(project, ()):
            del self._grants[digest]
        new = {each.digest: each for each in grants if each.digest not in self._grants}
        self._grants.update(new)
        self._digests[project] = tuple(new)

    def set_status(self, project: ProjectId, status: ProjectStatus) -> None:
        self._projects[project] = status

    def remove(self, project: ProjectId) -> None:
        self.install_keys(project, ())
        del self._digests[project]
        self.install(project, ())
        self._projects.pop(project, None)
