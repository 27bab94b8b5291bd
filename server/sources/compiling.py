"""Documents compiled in a process of their own: Python's compiler would hold the event loop's interpreter lock.

    Compiler(workers=1).compile(b"flags: …", ProjectId("shop", "web"), version=17)

becomes `Compiled({"production": b"BURGEE\\r\\n…", …}, seconds=0.2)`, or `Refused(Problem(…))`; it never raises. `check`
is the same for one environment, with every diagnostic. A worker lives on between documents, so an unchanged flag is
found in its cache; a project goes to the worker that had it last, if that is idle.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, TypeVarTuple

from engine import Snapshot, SnapshotError
from rules_compiler import CompileError, Diagnostic, compile_flags, lint
from rules_compiler.pipeline import check
from server.diagnostics import line_of, summary_of
from server.processes.naming import name_process
from server.sources.environments import environments_of
from server.types import EnvironmentId, Problem, ProjectId

DIAGNOSTICS_KEPT = 20  # of a refused document, for the log and /status
LONGEST = 300  # seconds for one document, all environments; others wait for it
REMEMBERED = 10_000  # projects, with the worker that had them last

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Compiled:
    snapshots: dict[str, bytes]  # environment -> blob
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    problem: Problem


@dataclass(frozen=True, slots=True)
class Checked:
    """One environment of a document, and all there is to say about it. No snapshot where there is an error."""

    snapshot: bytes | None
    digest: str = ""  # of the snapshot, as the engine says
    flags: int = 0
    diagnostics: tuple[Diagnostic, ...] = ()


def check_document(document: bytes, environment: EnvironmentId, version: int) -> Checked:
    blob, found = check(document, environment=environment.environment, version=version, flag_set_id=str(environment))
    diagnostics = tuple(found)
    if blob is None:
        return Checked(None, diagnostics=diagnostics)
    try:
        snapshot = Snapshot.from_bytes(blob)
    except SnapshotError as error:  # a fault of ours: better here than on every host
        return Checked(None, diagnostics=(*diagnostics, _fault(f"the engine refuses the snapshot: {error}")))
    return Checked(blob, snapshot.digest, len(snapshot), diagnostics)


def lint_document(document: bytes) -> tuple[Diagnostic, ...]:
    """In every environment."""
    return tuple(lint(document))


def _fault(message: str) -> Diagnostic:
    return Diagnostic("B900", "error", "", message)


def compile_document(document: bytes, project: ProjectId, version: int) -> Compiled | Refused:
    """Every environment of a document, or none of them."""
    started = time.perf_counter()
    try:
        snapshots = {
            name: compile_flags(
                document, environment=name, version=version, flag_set_id=str(EnvironmentId(*project, name))
            )
            for name in environments_of(document)
        }
    except CompileError as error:
        errors = [each for each in error.diagnostics if each.severity == "error"]
        lines = tuple(line_of(each) for each in errors[:DIAGNOSTICS_KEPT])
        return Refused(Problem(f"the document does not compile: {summary_of(error.diagnostics)}", lines))
    return Compiled(snapshots, time.perf_counter() - started)


class Compiler:
    """Processes that compile, one document each at a time: a document that kills its process takes no other along."""

    def __init__(self, workers: int) -> None:
        self._turns = asyncio.Semaphore(workers)
        self._idle = [_new_worker() for _ in range(workers)]  # the one that was used last is the last
        self._last: dict[ProjectId, ProcessPoolExecutor] = {}  # who has its flags in the cache

    async def compile(self, document: bytes, project: ProjectId, version: int) -> Compiled | Refused:
        done = await self.run(project, compile_document, document, project, version)
        return done if done is not None else Refused(Problem(_died()))

    async def check(self, document: bytes, environment: EnvironmentId, version: int) -> Checked:
        done = await self.run(environment.project_id, check_document, document, environment, version)
        return done if done is not None else Checked(None, diagnostics=(_fault(_died()),))

    async def lint(self, document: bytes, project: ProjectId) -> tuple[Diagnostic, ...]:
        done = await self.run(project, lint_document, document)
        return done if done is not None else (_fault(_died()),)

    async def run(
        self, project: ProjectId, work: Callable[[*Arguments], Result], *arguments: *Arguments
    ) -> Result | None:
        """Anything that takes long and is about a project. None where the process died over it, twice."""
        loop = asyncio.get_running_loop()
        async with self._turns:
            worker = self._take(project)
            try:
                for _ in range(2):  # a worker that died before, of something else, deserves a successor
                    try:
                        return await loop.run_in_executor(worker, partial(_within, LONGEST, work, *arguments))
                    except BrokenProcessPool:
                        worker = _new_worker()
            finally:
                self._idle.append(worker)
                self._remember(project, worker)
        return None

    def _take(self, project: ProjectId) -> ProcessPoolExecutor:
        last = self._last.get(project)
        if last is not None and last in self._idle:
            self._idle.remove(last)
            return last
        return self._idle.pop(0)

    def _remember(self, project: ProjectId, worker: ProcessPoolExecutor) -> None:
        self._last.pop(project, None)
        self._last[project] = worker
        if len(self._last) > REMEMBERED:
            del self._last[next(iter(self._last))]

    def close(self) -> None:
        """Ends what is being compiled: nobody would serve it any more. Cancel whoever waits for it before."""
        for process in multiprocessing.active_children():
            process.kill()
        while self._idle:
            self._idle.pop().shutdown(cancel_futures=True)
        self._last.clear()
        gc.collect()  # frees the semaphores of their queues, which this process may leave without its usual clean-up


def _died() -> str:
    return f"the compiler's process died over the document, or took more than {LONGEST} seconds"


# The process that tidies up after a killed agent would say on stderr what it found; it inherits this.
sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")


def _new_worker() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # a fork would copy the event loop and its sockets
    return ProcessPoolExecutor(1, mp_context=context, initializer=_prepare_worker)


def _within(seconds: int, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    signal.alarm(seconds)  # nothing handles it, so it ends the process
    try:
        return work(*arguments)
    finally:
        signal.alarm(0)


def _prepare_worker() -> None:
    name_process("burgee-compiler")
    # A terminal or a supervisor signals the whole group; the server decides when its workers end.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """A server that is killed cannot tell its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)
