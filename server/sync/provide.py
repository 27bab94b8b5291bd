"""The sync routes: what hosts and edges ask for (docs/sync.md), whoever has it.

    add_sync_routes(app, provider, authorise)

`provider` is a control plane's record (from_record.py) or a worker's catalog and files (from_catalog.py); `authorise`
says what the one who asks may see, or raises Refused. What a scope does not cover is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import structlog
import zstandard
from aiohttp import web

from server.http.failures import JSON, NO_STORE, Refused, failure
from server.record.database import RecordError
from server.record.failures import told
from server.state.records import ProjectRecord
from server.sync.messages import (
    EVENTS,
    MSGPACK,
    NUMBER,
    PROJECTS,
    SNAPSHOTS,
    SYNC_ROUTES,
    Changed,
    Listing,
    encode_record,
)
from server.sync.scope import Scope
from server.types import ProjectId

HEARTBEAT: Final = 15.0  # seconds between two comments on a quiet stream
AUTHORISED: Final = 1.5  # seconds that a stream goes on after its key was looked at: one that is revoked ends within 2
LEVEL: Final = 1  # of zstd, for what is not stored compressed
_LATER: Final = {"Retry-After": "1"}

Authorise = Callable[[web.Request], Awaitable[Scope]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Blob:
    content: bytes
    packed: bool  # with zstd


class Provider(Protocol):
    epoch: int
    generation: int  # rises when `projects` changes

    def ready(self) -> bool:
        """Is `projects` all there is?"""

    def source(self) -> str:
        """Which kind of numbers these are: the id of a record, or `folder`."""

    def refresh(self) -> None:
        """Looks whether `projects` changed. Raises RecordError where that cannot be known."""

    def projects(self) -> Mapping[ProjectId, int]:
        """Those that are gone too, as of the last `refresh`."""

    async def record(self, project: ProjectId) -> ProjectRecord | None: ...

    async def snapshot(self, project: ProjectId, digest: str) -> Blob | None: ...

    def listen(self) -> AsyncIterator[Changed]: ...


def add_sync_routes(app: web.Application, provider: Provider, authorise: Authorise) -> None:
    routes = _Routes(provider, authorise)
    app.on_shutdown.append(routes.close)
    paths = (
        PROJECTS,
        f"{PROJECTS}/{{tenant}}/{{project}}",
        f"{SNAPSHOTS}/{{tenant}}/{{project}}/{{digest}}",
        EVENTS,
    )
    handlers = (routes.listing, routes.record, routes.snapshot, routes.events)
    for path, handler, name in zip(paths, handlers, SYNC_ROUTES, strict=True):
        app.router.add_get(path, _answered(handler), name=name, allow_head=False)


class _Routes:
    def __init__(self, provider: Provider, authorise: Authorise) -> None:
        self._provider = provider
        self._authorise = authorise
        self._closing = asyncio.Event()
        self._listings: dict[Scope, tuple[bytes, bytes, str]] = {}  # body, zstd of it, ETag; of one generation
        self._generation = -1

    async def close(self, _: web.Application) -> None:
        self._closing.set()

    async def listing(self, request: web.Request) -> web.StreamResponse:
        body, packed, tag = self._listing(await self._authorise(request))
        headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
        if tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        if _takes_zstd(request):
            headers["Content-Encoding"] = "zstd"
        return web.Response(body=packed if _takes_zstd(request) else body, content_type=JSON, headers=headers)

    def _listing(self, scope: Scope) -> tuple[bytes, bytes, str]:
        if not self._provider.ready():
            raise Refused(503, "what there is is not known yet", headers=_LATER)
        self._provider.refresh()
        if self._generation != self._provider.generation:
            self._listings.clear()
            self._generation = self._provider.generation
        found = self._listings.get(scope)
        if found is None:
            listing = Listing(self._provider.epoch, scope.listing(self._provider.projects()), self._provider.source())
            body = msgspec.json.encode(listing)
            found = self._listings[scope] = body, _packed(body), f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return found

    async def record(self, request: web.Request) -> web.StreamResponse:
        scope, project = await self._authorise(request), _project_of(request)
        record = await self._provider.record(project) if scope.covers(project) else None
        if record is None:
            raise Refused(404, "there is no such project")
        headers = {NUMBER: str(record.version), **NO_STORE}
        return web.Response(body=encode_record(scope.narrow(record)), content_type=MSGPACK, headers=headers)

    async def snapshot(self, request: web.Request) -> web.StreamResponse:
        scope, project, digest = await self._authorise(request), _project_of(request), request.match_info["digest"]
        if not scope.covers(project) or not await self._may_see(scope, project, digest):
            raise Refused(404, "there is no such snapshot")
        blob = await self._provider.snapshot(project, digest)
        if blob is None:
            raise Refused(404, "there is no such snapshot")
        content, packed = blob.content, _takes_zstd(request)
        if packed and not blob.packed:
            content = await asyncio.to_thread(_packed, content)
        elif blob.packed and not packed:
            content = await asyncio.to_thread(_unpacked, content)
        headers = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
        if packed:
            headers["Content-Encoding"] = "zstd"
        return web.Response(body=content, content_type="application/octet-stream", headers=headers)

    async def _may_see(self, scope: Scope, project: ProjectId, digest: str) -> bool:
        """A digest is no secret: it opens what the scope has, and what it had of an environment that it has."""
        if not scope.environments:
            return True
        record = await self._provider.record(project)
        return record is not None and any(each.digest == digest for each in scope.narrow(record).snapshots)

    async def _still_sees(self, request: web.Request, scope: Scope) -> bool:
        try:
            return await self._authorise(request) == scope
        except Refused:
            return False
        except RecordError:
            return True  # nobody says otherwise; there is nothing to tell it either

    async def events(self, request: web.Request) -> web.StreamResponse:
        scope = await self._authorise(request)
        heard = self._provider.listen()
        next_one = asyncio.ensure_future(anext(heard))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.sleep(0)  # it listens from here on, before the one who asks is told so
            response = web.StreamResponse(headers={**NO_STORE, "X-Accel-Buffering": "no"})
            response.content_type = "text/event-stream"
            await response.prepare(request)
            await response.write(b":\n\n")
            silent_until, good_until = time.monotonic() + HEARTBEAT, time.monotonic() + AUTHORISED
            while not closing.done():  # both come in time, however much there is that this one is not told
                patience = max(0.0, min(silent_until, good_until) - time.monotonic())
                done, _ = await asyncio.wait({next_one, closing}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                if next_one in done:
                    changed = next_one.result()
                    next_one = asyncio.ensure_future(anext(heard))
                    tenant, _, project = changed.project.partition("/")
                    if scope.covers(ProjectId(tenant, project)):
                        await response.write(_event(changed.project, changed.number))
                        silent_until = time.monotonic() + HEARTBEAT
                if time.monotonic() >= good_until:
                    if not await self._still_sees(request, scope):
                        break  # it comes back, and sees what it may see now
                    good_until = time.monotonic() + AUTHORISED
                if time.monotonic() >= silent_until:
                    await response.write(b":\n\n")
                    silent_until = time.monotonic() + HEARTBEAT
            await response.write_eof()
        except ConnectionError:
            pass  # it is gone
        finally:
            closing.cancel()
            next_one.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await next_one
            await heard.aclose()  # type: ignore[attr-defined]
        return response


def _answered(handler: Handler) -> Handler:
    """A host retries what may be good later, and keeps what it has whatever is answered."""

    log = structlog.get_logger("sync")

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            return failure(refused.status, refused.details, headers=refused.headers)
        except RecordError as error:
            log.debug("the record cannot be asked", route=request.match_info.route.name, why=str(error))
            return failure(503, told(error), headers=_LATER)

    return answer


def _project_of(request: web.Request) -> ProjectId:
    return ProjectId(request.match_info["tenant"], request.match_info["project"])


def _takes_zstd(request: web.Request) -> bool:
    return "zstd" in request.headers.get("Accept-Encoding", "")


@functools.lru_cache(1024)
def _event(project: str, number: int) -> bytes:
    """One buffer for all who listen."""
    return b"data: " + msgspec.json.encode(Changed(project, number)) + b"\n\n"


def _packed(content: bytes) -> bytes:
    return zstandard.compress(content, LEVEL)


def _unpacked(content: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(content)
