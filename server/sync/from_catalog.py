"""What a worker gives to edges: what it serves, from its catalog and the files on disk. So any Burgee serves edges.

An edge key of a project sees what is published of it; one for a tenant, or for all, works against a control plane only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

from aiohttp import web

from server.control.feed import Feed
from server.http.authenticate import GRANT
from server.http.failures import Refused
from server.state.catalog import Catalog
from server.state.origin import noted_source
from server.state.records import ProjectRecord
from server.state.snapshots import SnapshotFiles
from server.sync.messages import Changed
from server.sync.provide import Blob
from server.sync.scope import Scope
from server.types import ProjectId


class CatalogProvider:
    def __init__(self, catalog: Catalog, state: Path) -> None:
        self.epoch = 0  # it is in the numbers
        self.generation = 0
        self._catalog = catalog
        self._state = state
        self._files = SnapshotFiles(state)
        self._feed = Feed()
        catalog.on_change(self._changed)

    def ready(self) -> bool:
        return self._catalog.ready

    def source(self) -> str:
        return noted_source(self._state)

    def refresh(self) -> None:
        self._catalog.refresh()

    def projects(self) -> Mapping[ProjectId, int]:
        return self._catalog.numbers()

    async def record(self, project: ProjectId) -> ProjectRecord | None:
        self._catalog.refresh()
        return self._catalog.record(project)

    async def snapshot(self, project: ProjectId, digest: str) -> Blob | None:
        record = self._catalog.record(project)
        for each in record.snapshots if record else ():
            if each.digest == digest:
                path = self._files.path_of(record.environment_id(each.name), each.version)  # type: ignore[union-attr]
                try:
                    return Blob(await asyncio.to_thread(path.read_bytes), packed=False)
                except OSError:
                    return None
        return None

    def listen(self) -> AsyncIterator[Changed]:
        return self._feed.listen()

    async def scope_of(self, request: web.Request) -> Scope:
        """What its key opens, which may be gone since the request began. Raises Refused."""
        grant = self._catalog.grant(request[GRANT].digest)
        if grant is None or (grant.expires is not None and grant.expires <= time.time()):
            raise Refused(401, "the key is not valid", headers={"WWW-Authenticate": "Bearer"})
        names = tuple(each.environment for each in grant.environments)
        return Scope(grant.project.tenant, grant.project.project, names)

    def _changed(self, projects: Iterable[ProjectId]) -> None:
        self.generation += 1
        for project in projects:
            record = self._catalog.record(project)
            if record is not None:
                self._feed.changed(project, record.version)
