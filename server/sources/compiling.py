"""Documents compiled in a process of their own: Python's compiler would hold the event loop's interpreter lock.

    Compiler(workers=1).compile(b"flags: …", ProjectId("shop", "web"), version=17)

becomes `Compiled({"production": b"BURGEE\\r\\n…", …}, seconds=0.2)`, or `Refused(Problem(…))`; it never raises.
A worker lives on between documents, so an unchanged flag is found in its cache.
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

from rules_compiler import CompileError, compile_flags
from server.diagnostics import line_of, summary_of
from server.processes.naming import name_process
from server.sources.environments import environments_of
from server.types import EnvironmentId, Problem, ProjectId

DIAGNOSTICS_KEPT = 20  # of a refused document, for the log and /status
LONGEST = 300  # seconds for one document, all environments; others wait for it


@dataclass(frozen=True, slots=True)
class Compiled:
    snapshots: dict[str, bytes]  # environment -> blob
    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    problem: Problem


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
        self._idle: asyncio.Queue[ProcessPoolExecutor] = asyncio.Queue()
        for _ in range(workers):
            self._idle.put_nowait(_new_worker())

    async def compile(self, document: bytes, project: ProjectId, version: int) -> Compiled | Refused:
        loop = asyncio.get_running_loop()
        worker = await self._idle.get()
        try:
            for _ in range(2):  # a worker that died before, of something else, deserves a successor
                try:
                    return await loop.run_in_executor(
                        worker, _compile_within, LONGEST, compile_document, document, project, version
                    )
                except BrokenProcessPool:
                    worker = _new_worker()
        finally:
            self._idle.put_nowait(worker)
        return Refused(Problem(f"the compiler's process died over the document, or took more than {LONGEST} seconds"))

    def close(self) -> None:
        """Ends what is being compiled: nobody would serve it any more. Cancel whoever waits for it before."""
        for process in multiprocessing.active_children():
            process.kill()
        while not self._idle.empty():
            self._idle.get_nowait().shutdown(cancel_futures=True)
        gc.collect()  # frees the semaphores of their queues, which this process may leave without its usual clean-up


# The process that tidies up after a killed agent would say on stderr what it found; it inherits this.
sys.warnoptions.append("ignore::UserWarning:multiprocessing.resource_tracker")


def _new_worker() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # a fork would copy the event loop and its sockets
    return ProcessPoolExecutor(1, mp_context=context, initializer=_prepare_worker)


def _compile_within(
    seconds: int,
    compile_one: Callable[[bytes, ProjectId, int], Compiled | Refused],
    document: bytes,
    project: ProjectId,
    version: int,
) -> Compiled | Refused:
    signal.alarm(seconds)  # nothing handles it, so it ends the process
    try:
        return compile_one(document, project, version)
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
