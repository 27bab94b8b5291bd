"""Flags and segments of the working copy: /tenants/{tenant}/projects/{project}/flags, and the same for segments.

    PUT …/flags/checkout {"type": "boolean", …}   201, or 200 with If-Match; its revision, and the compiler's warnings

One by one they are checked as far as that goes: what a flag names may come later. The whole is checked by a draft.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec

from rules_compiler import limits
from server.control.api import conditions
from server.control.api.frame import Answer, Call, Page, PageQuery, Route, found
from server.control.api.publishing_problems import as_problems
from server.control.problems import DiagnosticOf, ProblemError
from server.control.roles import Need, Role
from server.record.audit import canonical
from server.record.database import Transaction
from server.record.definitions import (
    FLAG,
    SEGMENT,
    Definition,
    Kind,
    count_definitions,
    delete_definition,
    edited_of,
    environment_names,
    get_definition,
    joined,
    list_definitions,
    put_definition,
)

ELSEWHERE: Final = ("B302", "B303")  # names of flags and segments that one alone cannot know
MOST: Final[dict[Kind, int]] = {FLAG: limits.FLAGS, SEGMENT: limits.SEGMENTS}


class DefinitionItem(msgspec.Struct, frozen=True, rename="camel"):
    key: str
    revision: int
    changed_at: datetime
    changed_by: str
    body: dict[str, Any]  # as in the flag document


class Saved(msgspec.Struct, frozen=True, rename="camel"):
    key: str
    revision: int
    changed_at: datetime
    changed_by: str
    diagnostics: tuple[DiagnosticOf, ...] = ()  # warnings


async def list_all(kind: Kind, call: Call[None, PageQuery]) -> Answer:
    query = call.query
    async with call.parts.record.look() as tx:
        await _require_project(tx, call)
        rows = await list_definitions(tx, call.project, kind, after=query.after, limit=query.limit + 1)
    shown = rows[: query.limit]
    following = shown[-1].key if len(rows) > query.limit else None
    return Answer(Page(tuple(_item(each) for each in shown), following))


async def get(kind: Kind, call: Call[None, None]) -> Answer:
    async with call.parts.record.look() as tx:
        await _require_project(tx, call)
        row = found(await get_definition(tx, call.project, kind, call.path["key"]))
    return Answer(msgspec.Raw(row.body), etag=row.revision)


async def put(kind: Kind, call: Call[dict[str, Any], None]) -> Answer:
    key, body = call.path["key"], canonical(call.body)
    async with call.parts.record.look() as tx:
        await _require_project(tx, call)
        names = await environment_names(tx, call.project)
    # Without an environment there is none to look at it in; its own shape can be checked all the same.
    document = joined(names or ("default",), {(kind, key): body})
    diagnostics = [
        each for each in await call.parts.compiler.lint(document, call.project) if each.code not in ELSEWHERE
    ]
    if any(each.severity == "error" for each in diagnostics):
        raise ProblemError(422, "does-not-compile", f"the {kind} does not compile", diagnostics=diagnostics)

    async def work(tx: Transaction) -> Answer:
        row = await get_definition(tx, call.project, kind, key)
        _check_match(call, row)
        if row is None and await count_definitions(tx, call.project, kind) >= MOST[kind]:
            raise ProblemError(422, "too-many", f"a project has at most {MOST[kind]:,} {kind}s")
        expected = row.revision if row is not None else None
        made = await put_definition(tx, call.project, kind, key, body, expected=expected, by=call.actor)
        at = datetime.fromtimestamp(made.changed_at, UTC)
        view = Saved(key, made.revision, at, made.changed_by, shown_diagnostics(diagnostics))
        return Answer(view, status=200 if row is not None else 201, etag=made.revision)

    with as_problems():
        return await call.change(work)


async def delete(kind: Kind, call: Call[None, None]) -> Answer:
    async def work(tx: Transaction) -> Answer:
        row = found(await get_definition(tx, call.project, kind, call.path["key"]))
        call.require_match(row.revision, msgspec.Raw(row.body))
        await delete_definition(tx, call.project, kind, row.key, expected=row.revision, by=call.actor)
        return Answer(status=204)

    with as_problems():
        return await call.change(work)


def shown_diagnostics(diagnostics: Any) -> tuple[DiagnosticOf, ...]:
    return tuple(DiagnosticOf(each.code, each.severity, each.place, each.message, each.hint) for each in diagnostics)


def _check_match(call: Call[Any, Any], row: Definition | None) -> None:
    if row is None:
        conditions.refuse_match(call.request)
    else:
        call.require_match(row.revision, msgspec.Raw(row.body))


async def _require_project(tx: Transaction, call: Call[Any, Any]) -> None:
    with as_problems():
        await edited_of(tx, call.project)


def _item(row: Definition) -> DefinitionItem:
    return DefinitionItem(
        row.key,
        row.revision,
        datetime.fromtimestamp(row.changed_at, UTC),
        row.changed_by,
        msgspec.json.decode(row.body),
    )


def _routes(kind: Kind) -> tuple[Route, ...]:
    plural = f"{kind}s"
    path = f"/tenants/{{tenant}}/projects/{{project}}/{plural}"
    one = f"{path}/{{key}}"
    viewer, editor = Need(Role.VIEWER), Need(Role.EDITOR)
    return (
        Route(
            f"{plural}_list", "GET", path, viewer, partial(list_all, kind), f"the {plural} of the working copy",
            answer=Page[DefinitionItem], query=PageQuery,
        ),
        Route(
            f"{kind}_get", "GET", one, viewer, partial(get, kind), f"one {kind}, as in the flag document",
            answer=dict[str, Any],
        ),
        Route(
            f"{kind}_put", "PUT", one, editor, partial(put, kind), f"make or replace a {kind} of the working copy",
            answer=Saved, body=dict[str, Any], status=200, statuses=(201, 412, 422, 428),
        ),
        Route(
            f"{kind}_delete", "DELETE", one, editor, partial(delete, kind), f"take a {kind} out of the working copy",
            status=204, conditional=True,
        ),
    )  # fmt: skip


ROUTES = (*_routes(FLAG), *_routes(SEGMENT))
