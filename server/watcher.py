"""Looks at the folder of tenants again and again, and has what changed dealt with (project.py does that).

A look lists the folder and starts a task for each project that changed; a slow document delays nobody else's. A folder
that cannot be listed, or that is suddenly empty (a mount that went away looks so), changes nothing: all is served on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import structlog

from server.compiling import Compiler
from server.folder import Sources, scan
from server.metrics import Metrics
from server.project import Project
from server.store import Store
from server.types import Problem, ProjectId

Progress = Callable[[int, int], None]  # projects done, of how many
RETRY_SECONDS = 0.5


class Watcher:
    def __init__(self, tenants: Path, store: Store, compiler: Compiler, metrics: Metrics, settle_time: float) -> None:
        self._tenants = tenants
        self._store = store
        self._compiler = compiler
        self._metrics = metrics
        self._settle_time = settle_time
        self._projects: dict[ProjectId, Project] = {}
        self._compiling: dict[ProjectId, asyncio.Task[None]] = {}
        self._looking = asyncio.Lock()
        self._unreadable: Mapping[str, str] = {}
        self._log = structlog.get_logger("watcher")

    async def load(self, progress: Progress | None = None) -> None:
        """The first look that finds the folder, to its end: every project is tried once, then the store is ready."""
        while not await self.look():
            await asyncio.sleep(RETRY_SECONDS)
        waiting, total = set(self._compiling.values()), len(self._compiling)
        while waiting:
            if progress:
                progress(total - len(waiting), total)
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if progress:
            progress(total, total)
        self._store.ready = True
        self._log.info("loaded", projects=total, environments=len(self._store.environments))

    async def watch(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            try:
                await self.look()
            except Exception:
                self._log.exception("a look at the folder failed")

    async def look(self, *, again: bool = False) -> bool:
        """One look; with `again`, every file is read whether it seems changed or not. False: the folder was no use."""
        async with self._looking:
            started = time.monotonic()
            try:
                listing = await asyncio.to_thread(scan, self._tenants)
            except OSError as error:
                self._keep_all(f"the folder of tenants cannot be listed: {error.strerror}")
                return False
            if not listing.projects and self._store.projects:
                self._keep_all("the folder of tenants has become empty (hint: restart to serve nothing on purpose)")
                return False
            self._store.folder_problem = None
            self._store.confirmed_at = started
            for tenant, why in listing.unreadable.items() - self._unreadable.items():
                self._log.error("a tenant's folder cannot be listed; it is kept as it is", tenant=tenant, why=why)
            self._unreadable = listing.unreadable
            found = [
                (self._project(each), listing.projects.get(each, Sources()))
                for each in sorted(listing.projects.keys() | self._projects.keys())
                if not self._is_unreadable(each)
            ]
            # Keys first, and awaited: a revocation must not queue behind anybody's compilation.
            await asyncio.gather(
                *(
                    self._guard(project, project.refresh_keys(sources.keys, again=again))
                    for project, sources in found
                    if project.keys_differ(sources) or (again and sources.keys)
                )
            )
            for project, sources in found:
                if project.id not in self._compiling:  # else it is looked at again when that is done
                    self._look_at_document(project, sources, again=again)
            return True

    async def stop(self) -> None:
        for task in (running := list(self._compiling.values())):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _project(self, project_id: ProjectId) -> Project:
        project = self._projects.get(project_id)
        if project is None:
            project = self._projects[project_id] = Project(
                project_id, self._store, self._compiler, self._metrics, self._settle_time
            )
        return project

    def _is_unreadable(self, project_id: ProjectId) -> bool:
        if project_id.tenant not in self._unreadable:
            return False
        self._projects[project_id].mark_behind()
        return True

    def _look_at_document(self, project: Project, sources: Sources, *, again: bool) -> None:
        if not project.document_differs(sources) and not (again and sources.documents):
            project.mark_current()
            return
        project.mark_behind()
        task = asyncio.create_task(self._guard(project, project.refresh_document(sources.documents, again=again)))
        self._compiling[project.id] = task
        task.add_done_callback(lambda _: self._compiling.pop(project.id))

    async def _guard(self, project: Project, refresh: Coroutine[Any, Any, None]) -> None:
        try:
            await refresh
        except Exception:
            self._log.exception("a project could not be dealt with", project=str(project.id))

    def _keep_all(self, why: str) -> None:
        if self._store.folder_problem is None:
            self._log.error("everything is kept as it is", why=why)
        self._store.folder_problem = Problem(why)
