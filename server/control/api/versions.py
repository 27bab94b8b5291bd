"""History: /tenants/{tenant}/projects/{project}/environments/{environment}/versions, and what is served from it.

GET  …/versions                       the newest first
GET  …/versions/17/document           what it was made of
GET  …/diff?from=15&to=17             what changed
POST …/versions/17/evaluate           {"contexts": [{"targetingKey": "u-1"}], "flags": ["checkout"]}
POST …/versions/17/explain            {"context": {…}, "flag": "checkout"}
GET  …/stale-flags?days=30            flags that nobody evaluates any more
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.control.api.frame import Answer, Call, Page, PageQuery, Route
from server.control.api.publishing import PATH, Key
from server.control.api.publishing_problems import as_problems, desk_of
from server.control.problems import ProblemError
from server.control.publishing import history, stale
from server.control.publishing.diff import Change
from server.control.publishing.history import Answered
from server.control.roles import Need, Role
from server.record.history import Version, environment_row, list_versions


class VersionView(msgspec.Struct, frozen=True, rename="camel"):
    version: int
    kind: str  # publish, rollback, promote, kill, import, restore
    origin: str
    document: str  # SHA-256
    snapshot: str  # digest
    size: int  # bytes of the snapshot
    flags: int
    draft: str
    message: str
    created_at: datetime
    created_by: str
    live: bool


class DiffQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    from_: Annotated[int, Meta(ge=0)] | None = msgspec.field(name="from", default=None)  # 0: nothing; null: before `to`
    to: Annotated[int, Meta(ge=1)] | None = None  # null: the newest


class DiffView(msgspec.Struct, frozen=True):
    changes: tuple[Change, ...]


class Evaluate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    contexts: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1, max_length=history.MOST_CONTEXTS)]
    flags: Annotated[tuple[Key, ...], Meta(max_length=1000)] | None = None  # null: all
    now: Annotated[int, Meta(ge=0, le=253_402_300_799_999)] | None = None  # milliseconds since the epoch


class Evaluated(msgspec.Struct, frozen=True):
    version: int
    answers: tuple[dict[str, Answered], ...]  # of each context, by flag


class Explain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    flag: Key
    context: dict[str, Any] = {}
    now: Annotated[int, Meta(ge=0, le=253_402_300_799_999)] | None = None


class StaleQuery(PageQuery, frozen=True, rename="camel", forbid_unknown_fields=True):
    days: Annotated[float, Meta(gt=0, le=3650)] = 30.0


class StaleItem(msgspec.Struct, frozen=True, rename="camel"):
    flag: str
    last_evaluated_at: datetime | None


async def list_all(call: Call[None, PageQuery]) -> Answer:
    query = call.query
    if query.after and not (query.after.isascii() and query.after.isdigit() and len(query.after) <= 18):
        raise ProblemError(400, "bad-request", "after: not the `next` of a page")
    below = int(query.after) if query.after else None
    with as_problems():
        async with call.parts.record.look() as tx:
            row = await environment_row(tx, call.environment)
            rows = await list_versions(tx, call.environment, below=below, limit=query.limit + 1)
    shown = rows[: query.limit]
    following = str(shown[-1].number) if len(rows) > query.limit else None
    return Answer(Page(tuple(_view(each, row.live_version) for each in shown), following))


async def get(call: Call[None, None]) -> Answer:
    with as_problems():
        async with call.parts.record.look() as tx:
            row = await environment_row(tx, call.environment)
            version = await history.version_at(tx, call.environment, _number(call))
    return Answer(_view(version, row.live_version), etag=version.number)


async def document(call: Call[None, None]) -> Answer:
    with as_problems():
        async with call.parts.record.look() as tx:
            await environment_row(tx, call.environment)
            content = await history.document_at(tx, call.environment, _number(call))
    return Answer(msgspec.Raw(content), etag=_number(call))


async def diff(call: Call[None, DiffQuery]) -> Answer:
    with as_problems():
        async with call.parts.record.look() as tx:
            row = await environment_row(tx, call.environment)
            to = call.query.to or row.version
            from_ = call.query.from_ if call.query.from_ is not None else await history.before(tx, call.environment, to)
            changes = await history.changes_between(tx, call.environment, from_, to)
    return Answer(DiffView(changes))


async def evaluate(call: Call[Evaluate, None]) -> Answer:
    body = call.body
    with as_problems():
        answers = await history.evaluate_at(
            desk_of(call.parts), call.environment, _number(call), body.contexts, body.flags, now=body.now
        )
    return Answer(Evaluated(_number(call), tuple(answers)))


async def explain(call: Call[Explain, None]) -> Answer:
    body = call.body
    with as_problems():
        explanation = await history.explain_at(
            desk_of(call.parts), call.environment, _number(call), body.flag, body.context, now=body.now
        )
    return Answer(explanation)


async def stale_flags(call: Call[None, StaleQuery]) -> Answer:
    query = call.query
    seen = await stale.last_evaluations(call.parts.settings.evaluations, call.environment)
    with as_problems():
        async with call.parts.record.look() as tx:
            flags = await stale.stale_flags(tx, call.environment, seen, call.parts.kept, days=query.days)
    rows = [each for each in flags if each.flag > query.after]
    shown = rows[: query.limit]
    items = tuple(StaleItem(each.flag, _moment(each.last_evaluated_at)) for each in shown)
    return Answer(Page(items, shown[-1].flag if len(rows) > query.limit else None))


def _number(call: Call[Any, Any]) -> int:
    return int(call.path["version"])


def _moment(at: float | None) -> datetime | None:
    return datetime.fromtimestamp(at, UTC) if at is not None else None


def _view(version: Version, live: int) -> VersionView:
    return VersionView(
        version=version.number,
        kind=version.kind,
        origin=version.origin,
        document=version.document,
        snapshot=version.snapshot,
        size=version.size,
        flags=version.flags,
        draft=version.draft,
        message=version.message,
        created_at=datetime.fromtimestamp(version.created_at, UTC),
        created_by=version.created_by,
        live=version.number == live,
    )


_VIEWER = Need(Role.VIEWER)
ONE = f"{PATH}/versions/{{version}}"
ROUTES = (
    Route(
        "versions_list", "GET", f"{PATH}/versions", _VIEWER, list_all, "versions, the newest first",
        answer=Page[VersionView], query=PageQuery,
    ),
    Route("version_get", "GET", ONE, _VIEWER, get, "one version", answer=VersionView),
    Route(
        "version_document", "GET", f"{ONE}/document", _VIEWER, document, "what it was made of",
        answer=dict[str, Any],
    ),
    Route(
        "versions_diff", "GET", f"{PATH}/diff", _VIEWER, diff, "what changed between two",
        answer=DiffView, query=DiffQuery,
    ),
    Route(
        "version_evaluate", "POST", f"{ONE}/evaluate", _VIEWER, evaluate, "contexts against it",
        answer=Evaluated, body=Evaluate, statuses=(409, 422),
    ),
    Route(
        "version_explain", "POST", f"{ONE}/explain", _VIEWER, explain, "why a context gets what it gets",
        answer=dict[str, Any], body=Explain, statuses=(422,),
    ),
    Route(
        "flags_stale", "GET", f"{PATH}/stale-flags", _VIEWER, stale_flags, "flags that nobody evaluates any more",
        answer=Page[StaleItem], query=StaleQuery,
    ),
)  # fmt: skip
