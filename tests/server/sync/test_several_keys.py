"""Several edge keys of one host: what one of them cannot be asked for is kept, and comes once it can be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest
from aiohttp import web

from server.control.feed import Feed
from server.http.failures import Refused
from server.state.records import ProjectRecord
from server.sync.asking import Asker
from server.sync.messages import PROJECTS, Changed
from server.sync.provide import Blob, add_sync_routes
from server.sync.scope import Scope
from server.sync.upstream import Upstream
from server.types import ProjectId
from tests.server.sync.test_replica import APP, World

PATIENCE = 30.0


class Central:
    """What a control plane has, and who may see which environment of it."""

    epoch, generation = 0, 0

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = ProjectRecord(*APP)
        self.scopes = {"a": ("e0",), "b": ("e1",), "both": ("e0", "e1")}
        self.feed = Feed()
        self.instead = b""  # of a listing
        self.streams = 0
        self.authorised = 0

    def ready(self) -> bool:
        return True

    def source(self) -> str:
        return "ab" * 16

    def refresh(self) -> None:
        """It is always what it is."""

    def projects(self) -> Mapping[ProjectId, int]:
        return {APP: self.now.version}

    async def record(self, project: ProjectId) -> ProjectRecord | None:
        return self.now

    async def snapshot(self, project: ProjectId, digest: str) -> Blob | None:
        return Blob(self.world.blobs[digest], packed=False)

    def listen(self) -> AsyncIterator[Changed]:
        return self.feed.listen()

    async def authorise(self, request: web.Request) -> Scope:
        self.authorised += 1
        names = self.scopes.get(request.headers["Authorization"].removeprefix("Bearer "))
        if names is None:
            raise Refused(401, "the key is not valid")
        return Scope(*APP, names)

    def publish(self, record: ProjectRecord) -> None:
        self.now = record
        self.generation += 1
        self.feed.changed(APP, record.version)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        @web.middleware
        async def nonsense(
            request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            if self.instead and request.path == PROJECTS:
                return web.Response(body=self.instead, content_type="application/json")
            return await handler(request)

        app = web.Application(middlewares=[nonsense])
        add_sync_routes(app, self, self.authorise)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    @contextlib.asynccontextmanager
    async def followed(self, *keys: str) -> AsyncIterator[None]:
        """By a host with these edge keys."""
        async with self.listening() as url:
            upstream = Upstream([Asker(url, key) for key in keys], self.world.replica)
            running = asyncio.create_task(upstream.run())
            try:
                yield
                assert not running.done()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def central(tmp_path: Path) -> Iterator[Central]:
    world = World(tmp_path)
    yield Central(world)
    world.loop.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


def versions(central: Central) -> dict[str, int]:
    return {each.name: each.version for each in central.world.store.record(APP).environments}


def test_a_key_that_was_never_heard_deletes_nothing(central: Central) -> None:
    first, second = central.world.record(1, "a", "b"), central.world.record(2, "c", "d")

    async def before() -> None:
        central.publish(first)
        async with central.followed("a", "b"):
            await until(lambda: versions(central) == {"e0": 1, "e1": 1})

    async def after() -> None:
        open_to = central.scopes.pop("b")
        central.publish(second)
        async with central.followed("a", "b"):
            await until(lambda: versions(central) == {"e0": 2, "e1": 1})
            central.scopes["b"] = open_to  # the number is the one that is here
            await until(lambda: versions(central) == {"e0": 2, "e1": 2})

    central.world.run(before)
    central.world.run(after)


def test_another_key_brings_its_environment_at_the_same_number(central: Central) -> None:
    central.publish(central.world.record(1, "a", "b"))

    async def follow(*keys: str) -> None:
        async with central.followed(*keys):
            wanted = {name: 1 for key in keys for name in central.scopes[key]}
            await until(lambda: versions(central) == wanted)

    for keys in ("a",), ("a", "b"), ("b",), ("both",):
        central.world.run(lambda keys=keys: follow(*keys))  # type: ignore[misc]


def test_a_revoked_key_holds_up_nothing_that_another_sees(central: Central) -> None:
    async def work() -> None:
        central.publish(central.world.record(1, "a", "b"))
        async with central.followed("both", "a"):
            await until(lambda: versions(central) == {"e0": 1, "e1": 1})
            del central.scopes["a"]
            central.publish(central.world.record(2, "c", "d"))
            await until(lambda: versions(central) == {"e0": 2, "e1": 2})

    central.world.run(work)


def test_a_revoked_key_alone_freezes_what_only_it_sees(central: Central) -> None:
    async def work() -> None:
        central.publish(central.world.record(1, "a", "b"))
        async with central.followed("a", "b"):
            await until(lambda: versions(central) == {"e0": 1, "e1": 1})
            del central.scopes["b"]
            central.publish(central.world.record(2, "c", "d"))
            await until(lambda: central.world.store.folder_problem is not None)
            assert versions(central) == {"e0": 1, "e1": 1}

    central.world.run(work)


@pytest.mark.parametrize("member", ["projects", "more"])
def test_deeply_nested_json_does_not_end_the_agent(central: Central, member: str) -> None:
    async def work() -> None:
        central.publish(central.world.record(1, "a", "b"))
        central.instead = b'{"%s":' % member.encode() + b"[" * 100_000 + b"]" * 100_000 + b"}"
        async with central.followed("both"):
            await until(lambda: central.world.store.folder_problem is not None)
            central.instead = b""
            await until(lambda: versions(central) == {"e0": 1, "e1": 1})

    central.world.run(work)


def test_a_note_that_cannot_be_written_does_not_end_the_agent(central: Central) -> None:
    async def work() -> None:
        central.publish(central.world.record(1, "a", "b"))
        note = central.world.state / "source"
        note.unlink()
        note.mkdir()
        (note / "in the way").touch()
        async with central.followed("both"):
            await until(lambda: central.world.store.folder_problem is not None)
            (note / "in the way").unlink()
            note.rmdir()
            await until(lambda: versions(central) == {"e0": 1, "e1": 1})

    central.world.run(work)


def test_a_revoked_keys_stream_ends_however_much_others_hear(central: Central) -> None:
    """Also of what the stream is not told."""

    async def work() -> None:
        async with central.listening() as url, asyncio.TaskGroup() as tasks:

            async def busy() -> None:
                while True:
                    central.feed.changed(ProjectId("other", "project"), 1)
                    await asyncio.sleep(0.05)

            noise = tasks.create_task(busy())
            asker = Asker(url, "a")
            heard = asker.events()
            assert await anext(heard) is None
            del central.scopes["a"]
            async with asyncio.timeout(10):  # a heartbeat is further apart
                assert [each async for each in heard] == []
            noise.cancel()
            await asker.close()

    central.world.run(work)
