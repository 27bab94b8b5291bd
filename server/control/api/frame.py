"""What a route of the admin API is: a row of a table that routing, rights, checks and OpenAPI are made from.

    Route("tenant_get", "GET", "/tenants/{tenant}", Need(Role.VIEWER), get, "one tenant", answer=Tenant)

    async def create(call: Call[NewProject, None]) -> Answer:
        async def work(tx: Transaction) -> Answer:
            await projects.create(tx, …, by=call.actor)
            return Answer(view, status=201, etag=1)
        return await call.change(work)

A handler gets what was sent as structs, already checked, and gives a struct. It raises ProblemError. Whatever is slow
it does before `call.change`, the one transaction: the change, its audit row, and the answer under `Idempotency-Key`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta
from sqlalchemy.exc import IntegrityError

from server.control.api import conditions, idempotency
from server.control.parts import Parts
from server.control.problems import ProblemError, not_found
from server.control.roles import Need, Principal
from server.record.audit import Actor
from server.record.database import Transaction
from server.types import NAME, EnvironmentId, ProjectId

BASE: Final = "/api/v1"
PAGE: Final = 100
LARGEST_PAGE: Final = 1000

# What may stand in a path, by its name there. Anything else is 404: there can be no such thing.
PARAMETERS: Final[Mapping[str, str]] = {
    "tenant": NAME,
    "project": NAME,
    "environment": NAME,
    "key": NAME,  # of a flag or a segment
    "selector": r"[0-9A-Za-z]{16}",
    "id": r"[0-9A-Za-z_-]{1,32}",
    "version": r"[1-9][0-9]{0,17}",
}

Item = TypeVar("Item")
Body = TypeVar("Body")
Query = TypeVar("Query")


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """A part of a list; `next` is the `after` of the part that follows, null at the end."""

    items: tuple[Item, ...]
    next: str | None = None


class PageQuery(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=LARGEST_PAGE)] = PAGE
    after: Annotated[str, Meta(max_length=256)] = ""  # in a request line it may be twelve times as long


@dataclass(frozen=True, slots=True)
class Answer:
    value: Any = None  # a Struct, or what JSON has; None: no body
    status: int = 200
    etag: int | None = None  # the revision
    location: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    kept: Any = None  # in place of `value` where the answer is given again: without what is shown once

    def at(self, location: str) -> Answer:
        return replace(self, location=location)


@dataclass(frozen=True, slots=True)
class Route:
    name: str  # operationId
    method: str
    path: str  # below BASE
    need: Need | None  # None: opens to nobody
    handler: Callable[[Call[Any, Any]], Awaitable[Answer]]
    summary: str
    answer: Any = None  # the type of a good answer's body; None: it has none
    status: int = 200  # of a good answer
    statuses: tuple[int, ...] = ()  # good ones besides, and problems that are not of every route
    body: Any = None  # the type; None: it takes none
    body_optional: bool = False  # an empty body is `body()`
    query: Any = None  # a Struct; None: it takes none
    conditional: bool = False  # needs If-Match: 412, 428
    # What becomes of an answer that is given again, under its Idempotency-Key.
    again: Callable[[Call[Any, Any], web.Response], Awaitable[web.Response]] | None = None


Work = Callable[[Transaction], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, eq=False)
class Call(Generic[Body, Query]):
    """One request, checked."""

    parts: Parts
    principal: Principal
    request: web.Request
    path: Mapping[str, str]
    body: Body
    query: Query
    once: idempotency.Once | None  # of a POST with Idempotency-Key
    _told: list[tuple[ProjectId, int]] = field(default_factory=list)

    @property
    def actor(self) -> Actor:
        return self.principal.actor

    @property
    def project(self) -> ProjectId:
        return ProjectId(self.path["tenant"], self.path["project"])

    @property
    def environment(self) -> EnvironmentId:
        return EnvironmentId(*self.project, self.path["environment"])

    def require_match(self, revision: int, current: Any) -> None:
        """428, 412: the change is not of the newest there is. `current` is that."""
        conditions.require_match(self.request, revision, current)

    def tell(self, project: ProjectId, number: int) -> None:
        """Hosts hear of it once the change is committed; `number` is what `touch` gave."""
        self._told.append((project, number))

    def tell_all(self, told: Iterable[tuple[ProjectId, int]]) -> None:
        self._told.extend(told)

    async def change(self, work: Work) -> Answer:
        """Does the work in one transaction. Raises what it raises; nothing was changed then."""
        try:
            async with self.parts.record.change() as tx:
                answer = await work(tx)
                if self.once is not None:
                    await self.once.keep(tx, answer)
        except IntegrityError:
            # Two made the same at the same moment: the database took the first.
            raise ProblemError(409, "conflict", "another request changed the same at the same moment") from None
        for project, number in self._told:
            self.parts.feed.changed(project, number)
        return answer


def found(row: Item | None) -> Item:
    """404 where there is none."""
    if row is None:
        raise not_found()
    return row


def page_of(items: Sequence[Item], limit: int, cursor: Callable[[Item], str]) -> Page[Item]:
    """Of rows that were asked for one more than the limit."""
    shown = tuple(items[:limit])
    return Page(shown, cursor(shown[-1]) if len(items) > limit else None)
