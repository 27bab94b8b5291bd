"""The control plane on a real socket, in a thread of its own, and a client that sends what it is told.

with running(url) as plane:
    plane.ask("POST", "/tenants", {"name": "shop"}, key=plane.owner).status
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from server import keys as text_of_keys
from server.control.app import Parts, control_plane
from server.control.feed import Feed
from server.http.listener import Runner
from server.record.audit import Actor
from server.record.database import Record, Transaction, open_record
from server.record.keys import NewKey, add_key
from server.record.schema import migrate
from server.sources.compiling import Compiler
from server.types import KeyKind, ProjectId

BY = Actor("test")
PATIENCE = 60.0
Value = TypeVar("Value")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The last word of a problem's type."""
        assert self.headers["content-type"].startswith("application/problem+json"), self.body
        assert self.json["status"] == self.status
        code: str = self.json["type"].rpartition(":")[2]
        return code


class Told(Feed):
    """A feed that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[ProjectId, int]] = []

    def changed(self, project: ProjectId, number: int) -> None:
        self.heard.append((project, number))
        super().changed(project, number)


@dataclass(frozen=True)
class Plane:
    port: int
    loop: asyncio.AbstractEventLoop
    record: Record
    feed: Told
    owner: str = ""

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        match: str | None = None,
    ) -> Reply:
        """As the owner, where no key is named; `path` is below /api/v1. An empty key: none."""
        sent = dict(headers or {})
        presented = self.owner if key is None else key
        if presented:
            sent.setdefault("Authorization", f"Bearer {presented}")
        if match is not None:
            sent["If-Match"] = match
        content = None
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, f"/api/v1{path}", content, sent)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, names, answer.read())
        finally:
            connection.close()

    def run(self, work: Awaitable[Value]) -> Value:
        async def awaited() -> Value:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self.loop).result(PATIENCE)

    def change(self, work: Callable[[Transaction], Awaitable[Value]]) -> Value:
        async def changed() -> Value:
            async with self.record.change() as tx:
                return await work(tx)

        return self.run(changed())

    def new_key(self, kind: KeyKind = KeyKind.ADMIN, **what: Any) -> str:
        """Written into the record, as if somebody had made it."""
        key = text_of_keys.new_key(kind)
        row = NewKey(text_of_keys.selector_of(key) or "", text_of_keys.digest_of(key).hex(), kind, **what)
        self.change(lambda tx: add_key(tx, row, by=BY))
        return key


@contextmanager
def running(url: str) -> Iterator[Plane]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    feed = Told()
    compiler: list[Compiler] = []

    async def start() -> tuple[Record, Runner, int]:
        record = await open_record(url)
        await migrate(record)
        compiler.append(Compiler(1))
        app = control_plane(Parts(record, feed, compiler[0]))
        runner = Runner(app, head_timeout=30, keepalive_timeout=30, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        return record, runner, port

    record, runner, port = asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENCE)
    bare = Plane(port, loop, record, feed)
    try:
        yield Plane(port, loop, record, feed, bare.new_key(role="owner"))
    finally:
        bare.run(runner.cleanup())
        bare.run(record.close())
        compiler[0].close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
