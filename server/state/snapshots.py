"""Snapshots on disk, a file for each version of an environment, which every worker of the host maps.

    snapshots/shop/web/production@17.burgee

A file is written beside its place, synced and renamed, and never changed again. The version that is served and the
one before stay; a worker that has an older one mapped keeps it, file or no file.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine import Snapshot, SnapshotError
from server.files import write_atomically
from server.state.records import Published
from server.types import EnvironmentId, ProjectId

SUFFIX = ".burgee"


class SnapshotFiles:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path_of(self, environment: EnvironmentId, version: int) -> Path:
        return self._project(environment.project_id) / f"{environment.environment}@{version}{SUFFIX}"

    def write(self, environment: EnvironmentId, version: int, blob: bytes) -> Published:
        """Verified, then on disk for good. Raises SnapshotError, OSError."""
        snapshot = Snapshot.from_bytes(blob)
        self.put(environment, version, blob)
        return Published(
            environment.environment, version, snapshot.digest, snapshot.size, len(snapshot), round(time.time(), 3)
        )

    def put(self, environment: EnvironmentId, version: int, blob: bytes) -> None:
        """What is verified already, on disk for good. Raises OSError."""
        path = self.path_of(environment, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, blob)

    def map(self, environment: EnvironmentId, published: Published) -> Snapshot:
        """Raises SnapshotError, also when the file is a good snapshot but another one; OSError."""
        snapshot = Snapshot.map(self.path_of(environment, published.version))
        if snapshot.digest != published.digest:
            raise SnapshotError("it is not the snapshot that was published")
        return snapshot

    def newest(self, project: ProjectId) -> int:
        """The highest version there is a file of, published or not; 0 where there is none."""
        try:
            return max((_version_of(each.name) for each in self._project(project).iterdir()), default=0)
        except OSError:
            return 0

    def projects(self) -> Iterator[ProjectId]:
        """Those that files are there of."""
        with contextlib.suppress(OSError):
            for tenant in (self._folder / "snapshots").iterdir():
                for project in tenant.iterdir():
                    yield ProjectId(tenant.name, project.name)

    def has(self, environment: EnvironmentId, published: Published) -> bool:
        """Is a file of that size there?"""
        try:
            return self.path_of(environment, published.version).stat().st_size == published.size
        except OSError:
            return False

    def keep_only(self, project: ProjectId, wanted: Iterable[Published], *, up_to: int) -> None:
        """Deletes the other files of a project up to a version: newer ones are being published."""
        names = {f"{each.name}@{each.version}{SUFFIX}" for each in wanted}
        with contextlib.suppress(OSError):  # what cannot be deleted stays
            for each in self._project(project).iterdir():
                if each.name not in names and 0 < _version_of(each.name) <= up_to:
                    each.unlink(missing_ok=True)

    def _project(self, project: ProjectId) -> Path:
        return self._folder / "snapshots" / project.tenant / project.project


def _version_of(name: str) -> int:
    """0 of a file that is none of ours: one that was half written, say."""
    version = name.removesuffix(SUFFIX).rpartition("@")[2]
    return int(version) if version.isascii() and version.isdigit() else 0
