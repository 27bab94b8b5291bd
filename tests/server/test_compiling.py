"""The compiler's processes: a document that kills one, or takes for ever, is refused, and only that one."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from server.sources import compiling
from server.sources.compiling import Compiled, Compiler, Refused
from server.types import ProjectId
from tests.server.running import until

GOOD = b"flags: {a: {type: boolean, variants: {yes: true}, fallthrough: yes}}"
KILLER = b"kill"
ENDLESS = b"for ever"
PROJECT = ProjectId("acme", "app")

_compile = compiling.compile_document


def compile_or_misbehave(document: bytes, project: ProjectId, version: int) -> Compiled | Refused:
    """Runs in the worker's process. No document is known to do either of these."""
    if document == KILLER:
        os.kill(os.getpid(), signal.SIGKILL)
    while document == ENDLESS:
        pass
    return _compile(document, project, version)


@pytest.fixture(autouse=True)
def misbehaving(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiling, "compile_document", compile_or_misbehave)
    yield
    until(lambda: not multiprocessing.active_children())


def run(workers: int, steps: Any) -> Any:
    async def main() -> Any:
        compiler = Compiler(workers)
        try:
            return await steps(compiler)
        finally:
            compiler.close()

    return asyncio.run(main())


def test_a_document_that_kills_the_compiler_takes_no_other_with_it() -> None:
    async def steps(compiler: Compiler) -> list[Compiled | Refused]:
        documents = [GOOD, KILLER, GOOD, KILLER, GOOD, GOOD]
        return await asyncio.gather(*(compiler.compile(each, PROJECT, 1) for each in documents))

    kinds = [type(each) for each in run(2, steps)]
    assert kinds == [Compiled, Refused, Compiled, Refused, Compiled, Compiled]


def test_a_worker_that_died_idle_is_replaced() -> None:
    async def steps(compiler: Compiler) -> Compiled | Refused:
        assert isinstance(await compiler.compile(GOOD, PROJECT, 1), Compiled)
        for each in multiprocessing.active_children():
            each.kill()
            each.join()
        return await compiler.compile(GOOD, PROJECT, 2)

    assert isinstance(run(1, steps), Compiled)


def test_a_document_that_takes_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(compiler: Compiler) -> tuple[Compiled | Refused, Compiled | Refused]:
        endless: Coroutine[Any, Any, Compiled | Refused] = compiler.compile(ENDLESS, PROJECT, 1)
        return await endless, await compiler.compile(GOOD, PROJECT, 1)

    monkeypatch.setattr(compiling, "LONGEST", 1)
    refused, compiled = run(1, steps)
    assert isinstance(refused, Refused)
    assert isinstance(compiled, Compiled)


def test_closing_does_not_wait() -> None:
    async def steps(compiler: Compiler) -> None:
        endless = asyncio.ensure_future(compiler.compile(ENDLESS, PROJECT, 1))
        await asyncio.sleep(0.5)
        endless.cancel()

    run(1, steps)
