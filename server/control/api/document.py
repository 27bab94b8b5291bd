"""The whole working copy as a flag document: /tenants/{tenant}/projects/{project}/document.

    PUT …/document?dryRun=true {"flags": {…}, "segments": {…}}      what would change, and what the compiler says of it

The environments are those of the project: a document may leave them out, and may not name others.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from server.control.api.definitions import shown_diagnostics
from server.control.api.frame import Answer, Call, Route
from server.control.api.publishing_problems import as_problems
from server.control.problems import DiagnosticOf, ProblemError, invalid
from server.control.publishing.candidate import DIAGNOSTICS_SHOWN
from server.control.publishing.diff import Change, differences
from server.control.publishing.documents import Document, Part, packed
from server.control.roles import Need, Role
from server.record.database import Transaction
from server.record.definitions import (
    FLAG,
    SEGMENT,
    Edits,
    bodies_of,
    document_of_project,
    edited_of,
    environment_names,
    replace_all,
)

PATH = "/tenants/{tenant}/projects/{project}/document"


class DocumentBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A flag document. docs/flag-documents.md."""

    flags: dict[str, dict[str, Any]] = {}
    segments: dict[str, dict[str, Any]] = {}
    environments: tuple[str, ...] | UnsetType = UNSET
    schema: str | UnsetType = msgspec.field(name="$schema", default=UNSET)


class DryRun(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    dry_run: bool = False


class Replaced(msgspec.Struct, frozen=True):
    revision: int  # of the working copy
    changes: tuple[Change, ...]
    diagnostics: tuple[DiagnosticOf, ...] = ()


async def get(call: Call[None, None]) -> Answer:
    with as_problems():
        async with call.parts.record.look() as tx:
            edited = await edited_of(tx, call.project)
            content = await document_of_project(tx, call.project)
    return Answer(msgspec.Raw(content), etag=edited)


async def put(call: Call[DocumentBody, DryRun]) -> Answer:
    parts: dict[Part, bytes] = {(FLAG, key): packed(body) for key, body in call.body.flags.items()}
    parts |= {(SEGMENT, key): packed(body) for key, body in call.body.segments.items()}
    with as_problems():
        async with call.parts.record.look() as tx:
            edited = await edited_of(tx, call.project)
            names = await environment_names(tx, call.project)
            before = Document(names, await bodies_of(tx, call.project))
    if not call.query.dry_run:
        call.require_match(edited, None)
    if not isinstance(call.body.environments, UnsetType):
        for name in call.body.environments:
            if name not in names:
                raise invalid("environments", f"the project has no environment `{name}` (hint: make it first)")
    after = Document(names, parts)
    changes = differences(before, after)
    diagnostics = await call.parts.compiler.lint(after.content(), call.project)
    if call.query.dry_run:
        return Answer(Replaced(edited, changes, shown_diagnostics(diagnostics[:DIAGNOSTICS_SHOWN])))
    if any(each.severity == "error" for each in diagnostics):
        raise ProblemError(
            422, "does-not-compile", "the document does not compile", diagnostics=diagnostics[:DIAGNOSTICS_SHOWN]
        )
    edits = Edits(
        {part: body for part, body in parts.items() if before.parts.get(part) != body},
        tuple(sorted(before.parts.keys() - parts.keys())),
    )

    async def work(tx: Transaction) -> Answer:
        revision = edited
        if edits:
            revision = await replace_all(tx, call.project, edits, expected=edited, by=call.actor)
        return Answer(Replaced(revision, changes, shown_diagnostics(diagnostics[:DIAGNOSTICS_SHOWN])), etag=revision)

    with as_problems():
        return await call.change(work)


ROUTES = (
    Route(
        "document_get",
        "GET",
        PATH,
        Need(Role.VIEWER),
        get,
        "the working copy as a flag document",
        answer=dict[str, Any],
    ),
    Route(
        "document_put",
        "PUT",
        PATH,
        Need(Role.EDITOR),
        put,
        "replace the working copy; with dryRun, see what that would do",
        answer=Replaced,
        body=DocumentBody,
        query=DryRun,
        statuses=(412, 422, 428),
    ),
)
