"""The management port: is the process alive, is it ready, its metrics, and how every environment stands.

    GET /status?tenant=shop&limit=2

becomes `{"ready": true, "environments": [{"environment": "shop/web/production", "version": 17, …}], "next": "…"}`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from heapq import nsmallest
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import exposition

from server.http.failures import JSON, Refused
from server.metrics import AgentMetrics
from server.quotas import Quotas
from server.shared.page import Page
from server.state.committed import workers_of
from server.state.publisher import Publisher
from server.state.records import Published
from server.state.store import ProjectStatus, Store
from server.types import Problem, ProjectId, SourceState
from server.version import version

PAGE = 100
LARGEST_PAGE = 1000
_END = b"# EOF\n"  # of OpenMetrics


class Management:
    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        page: Page,
        metrics: AgentMetrics,
        quotas: Quotas,
        *,
        workers: int = 1,
        source: str = "folder",
        beside: Callable[[str], Awaitable[bytes]] | None = None,
    ) -> None:
        """`workers`: how many there are to be, which says what a canary's share is. `beside`: metrics of another
        process of this server, in the format that an Accept header asks for."""
        self._store = store
        self._publisher = publisher
        self._page = page
        self._metrics = metrics
        self._quotas = quotas
        self._slots = workers
        self._source = source
        self._beside = beside

    async def healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:
        """Ready once every project has been tried, whatever came of it: stale answers are better than none."""
        if self._store.draining:
            return web.Response(status=503, text="draining\n")
        if not self._store.ready:
            return web.Response(status=503, text="loading\n", headers={"Retry-After": "1"})
        if not self._workers():
            return web.Response(status=503, text="no worker answers\n", headers={"Retry-After": "1"})
        return web.Response(text="ready\n")

    async def metrics(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        render, content_type = exposition.choose_encoder(accept)
        body: bytes = render(self._metrics.registry)
        if self._beside is not None and (more := await self._beside(accept)):
            body = body.removesuffix(_END) + more
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def status(self, request: web.Request) -> web.Response:
        limit = _limit_of(request)
        tenant, state, after = request.query.get("tenant"), _state_of(request), request.query.get("after", "")
        wanted = (
            each
            for each in self._rows()
            if each[0] > after and tenant in (None, each[1].tenant) and state in (None, each[2].state)
        )
        rows = nsmallest(limit + 1, wanted, key=lambda row: row[0])
        page = rows[:limit]
        body = {
            "version": version(),
            "ready": self._store.ready,
            "draining": self._store.draining,
            "ageSeconds": round(time.monotonic() - self._store.confirmed_at, 3),
            "source": self._source,
            "held": self._store.held(),
            "lastError": _error(self._store.folder_problem or self._publisher.problem),
            "workers": self._workers(),
            "limits": self._limits(tenant),
            "environments": [self._environment(*row) for row in page],
            "next": page[-1][0] if len(rows) > limit else None,
        }
        return web.Response(body=msgspec.json.encode(body), content_type=JSON, headers={"Cache-Control": "no-store"})

    def _rows(self) -> Iterator[tuple[str, ProjectId, ProjectStatus, Published | None]]:
        """Every environment; and for a project that has none yet, the project."""
        for project, status in self._store.projects.items():
            environments = self._store.record(project).environments
            for each in environments:
                yield f"{project}/{each.name}", project, status, each
            if not environments:
                yield str(project), project, status, None

    def _workers(self) -> list[dict[str, Any]]:
        """The processes that answer, and whether each is at the newest publication."""
        return [
            {
                "pid": each.pid,
                "slot": each.slot,
                "startedAt": _moment(each.started_at),
                "current": each.position == self._page.position,
                "overloaded": each.overloaded,
                "connections": each.connections,
                "streams": each.streams,
                "mappedSnapshots": each.mapped,
                "mappedBytes": each.mapped_bytes,
                "heartbeatAgeSeconds": round(time.monotonic() - each.heartbeat, 3),
            }
            for each in workers_of(self._page)
        ]

    def _limits(self, tenant: str | None) -> dict[str, Any]:
        """Of the tenant that is asked for, with what it uses of them now; else of those that have none of their own."""
        quota = self._quotas.default if tenant is None else self._quotas.of(tenant)
        limits: dict[str, Any] = {
            "mode": "warn" if quota.warn else "enforce",
            "requestsPerSecond": quota.requests_per_second,
            "evaluationsPerSecond": quota.evaluations_per_second,
            "bytesInFlight": quota.bytes_in_flight,
            "streams": quota.streams,
        }
        if tenant is not None and any(each.tenant == tenant for each in self._store.projects):
            cell = self._page.cell(tenant)
            limits["now"] = {"bytesInFlight": self._page.bytes_of(cell), "streams": self._page.streams_of(cell)}
        return limits

    def _environment(
        self, title: str, project: ProjectId, status: ProjectStatus, published: Published | None
    ) -> dict[str, Any]:
        row: dict[str, Any] = {
            "environment": title,
            "state": status.state,
            "stateSince": _moment(status.since),
            "lastError": _error(status.problem),
            "keysError": _error(status.keys_problem),
        }
        if published:
            row |= {
                "version": published.version,
                "digest": published.digest,
                "flags": published.flags,
                "sizeBytes": published.size,
                "installedAt": _moment(published.installed_at),
                "ageSeconds": round(self._store.age_of(project), 3),
            }
            row |= self._differences(project, published)
        return row

    def _differences(self, project: ProjectId, published: Published) -> dict[str, Any]:
        """Nothing, where every worker answers from what is published; else who does from what."""
        found: dict[str, Any] = {}
        canary = self._store.record(project).canary(published.name)
        if canary is not None:
            found["canary"] = {
                "version": canary.published.version,
                "share": canary.share,
                "since": _moment(canary.since),
            }
        versions = {}
        for each in workers_of(self._page):
            record = self._publisher.history.record_at(project, each.position)
            taken = record.published(published.name, each.slot, self._slots) if record else None
            versions[str(each.pid)] = taken.version if taken else None
        if set(versions.values()) - {published.version}:
            found["workers"] = versions
        return found


def _limit_of(request: web.Request) -> int:
    text = request.query.get("limit", str(PAGE))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LARGEST_PAGE:
        raise Refused(400, f"`limit` must be a number from 1 to {LARGEST_PAGE}")
    return int(text)


def _state_of(request: web.Request) -> SourceState | None:
    text = request.query.get("state")
    if text is not None and text not in set(SourceState):
        raise Refused(400, f"`state` must be one of {', '.join(SourceState)}")
    return SourceState(text) if text is not None else None


def _error(problem: Problem | None) -> dict[str, Any] | None:
    return None if problem is None else {"message": problem.message, "diagnostics": problem.diagnostics}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
