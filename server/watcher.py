"""Looks at the folder of tenants again and again, and has what changed dealt with (project.py does that).

A look lists the folder and starts a task for each project that changed; a slow document delays nobody else's. A folder
that cannot be listed, or that is suddenly empty (a mount that went away looks so), changes nothing: all is served on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from server.compiling import Compiler
from server.folder import Sources, scan
from server.metrics import Metrics
from server.project import Project
from server.store import Store
from server.types import Problem, ProjectId

Progress = Callable[[int, int], None]  # projects done, of how many


class Watcher:
    def __init__(self, tenants: Path, store: Store, compiler: Compiler, metrics: Metrics, settle_time: float) -> None:
        self._tenants = tenants
        self._store = store
        self._compiler = compiler
        self._metrics = metrics
        self._settle_time = settle_time
        self._projects: dict[ProjectId, Project] = {}
        self._running: dict[ProjectId, asyncio.Task[None]] = {}
        self._log = structlog.get_logger("watcher")

    async def load(self, progress: Progress | None = None) -> None:
        """The first look, to its end: every project is tried once, then the store is ready."""
        await self.look()
        waiting, total = set(self._running.values()), len(self._running)
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

    async def look(self, *, again: bool = False) -> None:
        """One look. `again` reads every file, whether it seems changed or not."""
        started = time.monotonic()
        try:
            listing = await asyncio.to_thread(scan, self._tenants)
        except OSError as error:
            self._keep_all(f"the folder of tenants cannot be listed: {error.strerror}")
            return
        if not listing.projects and self._store.projects:
            self._keep_all("the folder of tenants has become empty (hint: restart to serve nothing on purpose)")
            return
        self._store.folder_problem = None
        self._store.confirmed_at = started
        for tenant, why in listing.unreadable.items():
            self._log.warning("a tenant's folder cannot be listed", tenant=tenant, why=why)
        for each in sorted(listing.projects.keys() | self._projects.keys()):
            if each not in self._running:  # else it is looked at again when that is done
                self._look_at(
                    each, listing.projects.get(each, Sources()), each.tenant in listing.unreadable, again=again
                )

    async def idle(self) -> None:
        """Until nothing that a look has started is left."""
        while self._running:
            await asyncio.wait(set(self._running.values()))

    def _look_at(self, project_id: ProjectId, sources: Sources, unreadable: bool, *, again: bool) -> None:
        project = self._projects.get(project_id)
        if project is None:
            project = self._projects[project_id] = Project(
                project_id, self._store, self._compiler, self._metrics, self._settle_time
            )
        if unreadable:
            project.mark_behind()
        elif again or project.differs(sources):
            project.mark_behind()
            task = asyncio.create_task(self._refresh(project, sources, again=again))
            self._running[project_id] = task
            task.add_done_callback(lambda _: self._running.pop(project_id))
        else:
            project.mark_current()

    async def _refresh(self, project: Project, sources: Sources, *, again: bool) -> None:
        try:
            await project.refresh(sources, again=again)
        except Exception:
            self._log.exception("a project could not be dealt with", project=str(project.id))

    def _keep_all(self, why: str) -> None:
        if self._store.folder_problem is None:
            self._log.error("everything is kept as it is", why=why)
        self._store.folder_problem = Problem(why)
