"""One project's files, and how a change of them becomes what is served.

    changed? -> still for a moment? -> read -> other content? -> compile -> install

Rules that keep a slip of the disk from becoming an outage:

- a file that changes while it is read is left to the next look;
- a broken document or key file changes nothing but /status, the log and the metrics: the last good one stays;
- a file is taken for deleted when two looks in a row miss it.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from engine import SnapshotError
from rules_compiler.codegen.layout import FORMAT_VERSION
from rules_compiler.limits import DOCUMENT_BYTES
from server.metrics import AgentMetrics
from server.sources import key_file
from server.sources.compiling import Compiler, Refused
from server.sources.folder import Source, Sources, stamp_of
from server.state.snapshots import SnapshotFiles
from server.state.store import ProjectStatus, Store
from server.types import EnvironmentId, Problem, ProjectId, SourceState
from server.version import version as burgee_version

Committed = Callable[[], Awaitable[None]]  # returns when workers can see what was installed

LOOKS_UNTIL_GONE = 2
RETRY_SECONDS = 5.0  # until what could not be written is compiled again
COMPILER = f"{burgee_version()}/{FORMAT_VERSION}"  # what another one made is made again


@dataclass(slots=True)
class _Tracked:
    """A document or a key file as it was last dealt with."""

    seen: tuple[Source, ...] | None = None  # None: never dealt with; empty: there is none
    tried: bytes = b""  # digest of the content that was looked at last
    installed: bytes = b""  # digest of the content that is served
    missed: int = 0  # looks in a row that did not find it
    retry_at: float | None = None  # monotonic seconds: the disk may be better then
    restored: bool = False  # something is served of it since before this process


class _UnsettledError(Exception):
    """The file is being written, or has just gone."""


class Project:
    def __init__(
        self,
        project: ProjectId,
        store: Store,
        files: SnapshotFiles,
        committed: Committed,
        compiler: Compiler,
        metrics: AgentMetrics,
        settle_time: float,
    ) -> None:
        self.id = project
        self._store = store
        self._files = files
        self._committed = committed
        self._compiler = compiler
        self._metrics = metrics
        self._settle_time = settle_time  # seconds
        record = store.record(project)
        whole = (
            record.sources.compiler == COMPILER
            and all(files.has(record.environment_id(each.name), each) for each in record.environments)
            and files.newest(project) <= record.version  # else the journal may have lost the record of a newer one
        )
        self._document = _Tracked(
            installed=record.sources.document if whole else b"", restored=bool(record.environments)
        )
        self._keys = _Tracked(installed=record.sources.keys, restored=bool(record.keys))
        self._log = structlog.get_logger("project").bind(project=str(project))

    def document_differs(self, sources: Sources) -> bool:
        retry_at = self._document.retry_at
        return self._document.seen != sources.documents or (retry_at is not None and time.monotonic() > retry_at)

    def keys_differ(self, sources: Sources) -> bool:
        return self._keys.seen != _as_tuple(sources.keys)

    def mark_behind(self) -> None:
        """Its source is known to say something else, or cannot be asked: from now on its age grows."""
        status = self._store.projects.get(self.id)
        if status is not None and status.behind_since is None:
            self._store.set_status(self.id, replace(status, behind_since=time.monotonic()))

    def mark_current(self) -> None:
        status = self._store.projects.get(self.id)
        if status is not None and status.state is SourceState.VALID and status.behind_since is not None:
            self._store.set_status(self.id, replace(status, behind_since=None))

    async def refresh_document(self, sources: tuple[Source, ...], *, again: bool) -> None:
        """Deal with it; with `again`, also with one that was refused before. Raises nothing for a bad source."""
        tracked = self._document
        if not _is_certain(tracked, sources):
            return
        if not sources:
            version = self._store.record(self.id).version
            self._store.install(self.id, (), version=version, document=b"", compiler="")
            self._document = _Tracked(seen=())
            self._refused(Problem("there are keys but no document"))
            self._remove_if_gone()
            return
        if len(sources) > 1:
            tracked.seen, tracked.tried = sources, b""
            names = ", ".join(f"`{each.path.name}`" for each in sources)
            self._refused(Problem(f"several documents for one project: {names} (hint: keep one)"))
            return
        source = sources[0]
        try:
            content = await self._read(source, DOCUMENT_BYTES)
        except _UnsettledError:
            return
        except OSError as error:
            tracked.seen, tracked.tried = sources, b""
            self._refused(Problem(f"the document cannot be read: {error.strerror}"))
            return
        digest = _digest(content)
        if digest == tracked.installed:
            if self._status().problem is not None:
                self._log.info("the document is good again", version=self._store.record(self.id).version)
            self._set_status(SourceState.VALID)
        elif again or digest != tracked.tried:
            tracked.tried = digest
            if await self._compile(source, content, digest):
                tracked.installed = digest
        tracked.seen = sources

    async def _compile(self, source: Source, content: bytes, digest: bytes) -> bool:
        # INVARIANT: the version of a project's snapshots rises with every change of content, whatever its file's time.
        record = self._store.record(self.id)
        before = max(record.version, self._files.newest(self.id))
        version = max(before + 1, source.stamp.modified_ns // 1_000_000)
        self._document.retry_at = None
        compiled = await self._compiler.compile(content, self.id, version)
        if isinstance(compiled, Refused):
            self._refused(compiled.problem)
            return False
        try:
            published = [
                await asyncio.to_thread(self._files.write, EnvironmentId(*self.id, name), version, blob)
                for name, blob in compiled.snapshots.items()
            ]
        except SnapshotError as error:
            self._refused(Problem(f"the compiled snapshot does not load: {error}"))
            return False
        except OSError as error:
            self._document.tried, self._document.retry_at = b"", time.monotonic() + RETRY_SECONDS
            self._refused(Problem(f"the snapshots cannot be written: {error.strerror}"))
            return False
        self._store.install(self.id, tuple(published), version=version, document=digest, compiler=COMPILER)
        await self._committed()
        self._set_status(SourceState.VALID)
        self._metrics.reloads.labels("document", "installed").inc()
        self._metrics.compile_seconds.observe(compiled.seconds)
        if record.version:
            self._metrics.propagation_seconds.observe(max(0.0, time.time() - source.stamp.modified_ns / 1e9))
        self._log.info("document installed", version=version, compile_seconds=round(compiled.seconds, 3))
        return True

    async def check_files(self) -> None:
        """What is published is compiled anew, under a new version, when it cannot be mapped."""
        record = self._store.record(self.id)
        try:
            for each in record.environments:
                await asyncio.to_thread(self._files.map, record.environment_id(each.name), each)
        except (OSError, SnapshotError) as error:
            self._log.error("a snapshot is damaged on disk; it is compiled again", why=str(error))
            self._document = _Tracked(restored=True)

    async def refresh_keys(self, source: Source | None, *, again: bool) -> None:
        """As refresh_document."""
        tracked, sources = self._keys, _as_tuple(source)
        if not _is_certain(tracked, sources):
            return
        if source is None:
            if tracked.installed:
                self._log.info("keys removed: their file is gone")
            self._store.install_keys(self.id, ())
            self._keys = _Tracked(seen=())
            self._set_keys_problem(None)
            self._remove_if_gone()
            return
        try:
            content = await self._read(source, key_file.LARGEST)
            digest = _digest(content)
            if digest == tracked.installed:
                if self._status().keys_problem is not None:
                    self._log.info("the keys are good again")
                self._set_keys_problem(None)
            elif again or digest != tracked.tried:
                tracked.tried = digest
                file = await asyncio.to_thread(key_file.parse, content)
                self._store.install_keys(self.id, key_file.grants(file), origins=file.origins, file=digest)
                await self._committed()
                tracked.installed = digest
                self._set_keys_problem(None)
                self._metrics.reloads.labels("keys", "installed").inc()
                self._log.info("keys installed", keys=len(file.keys))
        except _UnsettledError:
            return
        except OSError as error:
            tracked.tried = b""
            self._refuse_keys(f"the key file cannot be read: {error.strerror}")
        except key_file.KeyFileError as error:
            self._refuse_keys(f"the key file is broken: {error}")
        tracked.seen = sources

    async def _read(self, source: Source, largest: int) -> bytes:
        """The whole content of a file that nobody is writing. Raises _UnsettledError, OSError."""
        if 0 <= time.time() - source.stamp.modified_ns / 1e9 < self._settle_time:
            await asyncio.sleep(self._settle_time)
        return await asyncio.to_thread(_read_settled, source, largest)

    def _remove_if_gone(self) -> None:
        if self._document.seen == self._keys.seen == ():
            self._store.remove(self.id)
            self._log.info("project removed")

    def _refused(self, problem: Problem) -> None:
        served = self._store.record(self.id).environments
        self._set_status(SourceState.STALE if served else SourceState.BROKEN, problem)
        self._metrics.reloads.labels("document", "refused").inc()
        self._log.error("document refused", why=problem.message, diagnostics=list(problem.diagnostics))

    def _refuse_keys(self, why: str) -> None:
        self._set_keys_problem(Problem(why))
        self._metrics.reloads.labels("keys", "refused").inc()
        self._log.error("keys refused; the last good ones stay", why=why)

    def _status(self) -> ProjectStatus:
        return self._store.projects.get(self.id) or ProjectStatus(SourceState.BROKEN, time.time())

    def _set_status(self, state: SourceState, problem: Problem | None = None) -> None:
        old = self._status()
        self._store.set_status(
            self.id,
            replace(
                old,
                state=state,
                since=old.since if old.state is state else time.time(),
                problem=problem,
                behind_since=None if state is SourceState.VALID else old.behind_since or time.monotonic(),
            ),
        )

    def _set_keys_problem(self, problem: Problem | None) -> None:
        if problem is not None or self.id in self._store.projects:
            self._store.set_status(self.id, replace(self._status(), keys_problem=problem))


def _as_tuple(source: Source | None) -> tuple[Source, ...]:
    return () if source is None else (source,)


def _is_certain(tracked: _Tracked, sources: tuple[Source, ...]) -> bool:
    """Editors and copies delete a file to write it anew, so an absence counts only when it is seen twice."""
    there = tracked.restored if tracked.seen is None else tracked.seen
    tracked.missed = 0 if sources or not there else tracked.missed + 1
    return tracked.missed in (0, LOOKS_UNTIL_GONE)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _read_settled(source: Source, largest: int) -> bytes:
    try:
        # Not blocking: nobody may ever write to a pipe that somebody left here.
        descriptor = os.open(source.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _UnsettledError from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(largest + 1)  # a larger one is refused by whoever reads it
        if not stamp_of(found) == stamp_of(os.fstat(descriptor)) == source.stamp:
            raise _UnsettledError
        return content
    finally:
        os.close(descriptor)
