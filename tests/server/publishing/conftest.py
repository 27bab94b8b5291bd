"""A record with one project, a compiler in its own process, and a client of the admin API; on both databases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from aiohttp import ClientSession, web
from sqlalchemy import insert

from server import keys as key_texts
from server.control.app import control_plane
from server.control.feed import Feed
from server.control.parts import Parts
from server.control.publishing.publish import Desk
from server.record.schema import open_migrated
from server.record.tables import keys
from server.sources.compiling import Compiler
from server.types import EnvironmentId, KeyKind
from tests.server.record.rows import PRODUCTION, STAGING, add_environments

Result = TypeVar("Result")
OTHER = EnvironmentId("bank", "app", "production")


class Bench:
    """Everything in one event loop, so that tests share the compiler's process."""

    def __init__(self, runner: asyncio.Runner, compiler: Compiler, url: str) -> None:
        self._runner = runner
        self._compiler = compiler
        self._url = url

    def run(self, steps: Callable[[Desk], Awaitable[Result]]) -> Result:
        async def main() -> Result:
            record = await open_migrated(self._url)
            try:
                async with record.change() as tx:
                    await add_environments(tx, PRODUCTION, STAGING, OTHER)
                return await steps(Desk(record, self._compiler, Feed()))
            finally:
                await record.close()

        return self._runner.run(main())

    def serve(self, steps: Callable[[Desk, Callable[..., Client]], Awaitable[Result]]) -> Result:
        async def main(desk: Desk) -> Result:
            async with _served(desk) as client_of:
                return await steps(desk, client_of)

        return self.run(main)


class Client:
    """An admin key, asking. Paths are below /api/v1."""

    def __init__(self, session: ClientSession, base: str, key: str) -> None:
        self._session = session
        self._base = base
        self._headers = {"Authorization": f"Bearer {key}"}

    async def ask(
        self, method: str, path: str, body: Any = None, *, match: int | str | None = None, **headers: str
    ) -> tuple[int, Any, str]:
        """Status, body, ETag."""
        given = {**self._headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if match is not None:
            given["If-Match"] = f'"{match}"'
        async with self._session.request(method, self._base + path, json=body, headers=given) as response:
            content = await response.json(content_type=None) if response.status != 204 else None
            return response.status, content, response.headers.get("ETag", "").strip('"')


@asynccontextmanager
async def _served(desk: Desk) -> AsyncIterator[Callable[..., Client]]:
    made: dict[tuple[str, str], str] = {}
    for role in ("owner", "admin", "editor", "viewer"):
        for name in ("ann", "bob"):
            key = key_texts.new_key(KeyKind.ADMIN)
            made[name, role] = key
    async with desk.record.change() as tx:
        for (name, role), key in made.items():
            row = {"selector": key_texts.selector_of(key), "digest": key_texts.digest_of(key).hex(), "kind": "admin"}
            where = {"tenant": "" if role == "owner" else "shop", "role": role, "name": name}
            await tx.execute(insert(keys).values(**row, **where, created_at=time.time(), created_by="test"))
    runner = web.AppRunner(control_plane(Parts(desk.record, desk.feed, desk.compiler)))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with ClientSession() as session:
            yield lambda name="ann", role="editor": Client(session, f"http://127.0.0.1:{port}/api/v1", made[name, role])
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def compiler(runner: asyncio.Runner) -> Iterator[Compiler]:
    compiler = Compiler(1)
    yield compiler
    compiler.close()


@pytest.fixture
def bench(runner: asyncio.Runner, compiler: Compiler, database_url: str) -> Bench:
    return Bench(runner, compiler, database_url)
