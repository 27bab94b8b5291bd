"""Looks at the folder of tenants again and again, and has what changed dealt with (project.py does that).

A look lists the folder and starts a task for each file that changed; a slow document delays nobody else's. A folder
that cannot be listed, or that is suddenly empty (a mount that went away looks so), changes nothing: all is served on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import structlog

from server.sources.folder import Sources, scan
from server.sources.project import Project
from server.state.store import Store
from server.types import Problem, ProjectId

Progress = Callable[[int, int], None]  # files dealt with, of how many
RETRY_SECONDS = 0.5


class Watcher:
    def __init__(self, tenants: Path, store: Store, new_project: Callable[[ProjectId], Project]) -> None:
        self._tenants = tenants
        self._store = store
        self._new_project = new_project
        self._projects: dict[ProjectId, Project] = {}
        self._running: dict[tuple[ProjectId, str], asyncio.Task[None]] = {}
        self._looking = asyncio.Lock()
        self._unreadable: Mapping[str, str] = {}
        self._log = structlog.get_logger("watcher")

    async def load(self, progress: Progress | None = None) -> None:
        """The first look that finds the folder, to its end: every project is tried once, then the store is ready.

        Without the folder it is ready too, when there is something to serve from before.
        """
        while not await self.look():
            if self._store.projects:
                break
            await asyncio.sleep(RETRY_SECONDS)
        waiting, total = set(self._running.values()), len(self._running)
        while waiting:
            if progress:
                progress(total - len(waiting), total)
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if progress:
            progress(total, total)
        self._store.ready = True
        self._log.info("loaded", projects=len(self._projects))

    async def watch(self, interval: float) -> None:
        """Looks again and again, for at most a tenth of the time: a folder of many thousand files takes a while."""
        taken = 0.0
        while True:
            await asyncio.sleep(max(interval, 9 * taken))
            started = time.monotonic()
            try:
                await self.look()
            except Exception:
                self._log.exception("a look at the folder failed")
            taken = time.monotonic() - started

    async def look(self, *, again: bool = False) -> bool:
        """One look; with `again`, every file is read whether it seems changed or not. False: the folder was no use."""
        async with self._looking:
            started = time.monotonic()
            if self._store.held():
                self._keep_all("this host is held (hint: `burgee release`)")
                return False
            try:
                listing = await asyncio.to_thread(scan, self._tenants)
            except OSError as error:
                self._keep_all(f"the folder of tenants cannot be listed: {error.strerror}")
                return False
            if not listing.projects and self._store.projects:
                self._keep_all("the folder of tenants has become empty (hint: restart to serve nothing on purpose)")
                return False
            if self._store.folder_problem is not None:
                self._log.info("the folder of tenants is there again")
            self._store.folder_problem = None
            self._store.confirmed_at = started
            for tenant, why in listing.unreadable.items() - self._unreadable.items():
                self._log.error("a tenant's folder cannot be listed; it is kept as it is", tenant=tenant, why=why)
            for tenant in self._unreadable.keys() - listing.unreadable.keys():
                self._log.info("a tenant's folder is looked at again", tenant=tenant)
            self._unreadable = listing.unreadable
            for each in sorted(listing.projects.keys() | self._projects.keys() | self._store.projects.keys()):
                if each.tenant in listing.unreadable:
                    self._project(each).mark_behind()
                else:
                    self._look_at(self._project(each), listing.projects.get(each, Sources()), again=again)
            return True

    def suspect(self, project_id: ProjectId) -> None:
        """A worker could not map what is published of it."""
        project = self._project(project_id)
        self._start(project, "files", project.check_files)

    async def stop(self) -> None:
        for task in (running := list(self._running.values())):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _project(self, project_id: ProjectId) -> Project:
        project = self._projects.get(project_id)
        if project is None:
            project = self._projects[project_id] = self._new_project(project_id)
        return project

    def _look_at(self, project: Project, sources: Sources, *, again: bool) -> None:
        # Two tasks: a revocation of keys must not queue behind a compilation.
        if project.keys_differ(sources) or (again and sources.keys):
            self._start(project, "keys", lambda: project.refresh_keys(sources.keys, again=again))
        if project.document_differs(sources) or (again and sources.documents):
            project.mark_behind()
            self._start(project, "document", lambda: project.refresh_document(sources.documents, again=again))
        elif (project.id, "document") not in self._running:
            project.mark_current()

    def _start(self, project: Project, part: str, refresh: Callable[[], Coroutine[Any, Any, None]]) -> None:
        running = project.id, part
        if running in self._running:
            return  # it is looked at again when that is done
        task = self._running[running] = asyncio.create_task(self._guard(project, refresh()))
        task.add_done_callback(lambda _: self._running.pop(running))

    async def _guard(self, project: Project, refresh: Coroutine[Any, Any, None]) -> None:
        try:
            await refresh
        except Exception:
            self._log.exception("a project could not be dealt with", project=str(project.id))

    def _keep_all(self, why: str) -> None:
        if self._store.folder_problem is None:
            self._log.error("everything is kept as it is", why=why)
        self._store.folder_problem = Problem(why)
