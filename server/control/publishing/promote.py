"""Flags and segments as they are published in another environment, brought to this one.

    await prepare_promote(desk, production, source="staging", flags=("checkout",), expected=17)

checkout in production is then what version 40 of staging makes of it; all other flags are as production has them
published, and what is edited and not yet published stays so.
"""

from __future__ import annotations

from collections.abc import Sequence

from server.control.publishing.candidate import basis_of, freeze
from server.control.publishing.documents import OVERRIDABLE, Document, Part, overridden, packed, resolved, unpacked
from server.control.publishing.impact import Context
from server.control.publishing.publish import Desk, Expected, Prepared, approvals_text, check_current, impact_on
from server.control.publishing.refusals import NeedsApprovalError
from server.record.definitions import FLAG, SEGMENT, Kind
from server.types import EnvironmentId


async def prepare_promote(
    desk: Desk,
    environment: EnvironmentId,
    *,
    source: str,
    flags: Sequence[str] | None,
    segments: Sequence[str] | None = (),
    expected: Expected,
    message: str = "",
    contexts: Sequence[Context] = (),
    override_impact: bool = False,
    as_draft: bool = False,
) -> Prepared:
    """None as `flags` or `segments`: all of them. Raises LookupError, StaleError and what refusals.py has."""
    async with desk.record.look() as tx:
        basis = await basis_of(tx, environment, desk.kept)
        there = await basis_of(tx, EnvironmentId(*environment.project_id, source), desk.kept)
    check_current(basis, expected)
    if basis.rules.approvals and not as_draft:
        raise NeedsApprovalError(f"`{environment}` needs {approvals_text(basis.rules.approvals)} (hint: make a draft)")
    wanted = [*_named(FLAG, flags, there.published), *_named(SEGMENT, segments, there.published)]
    document = promoted(basis.published, there.published, wanted, source, environment.environment)
    frozen = await freeze(
        desk.compiler,
        basis,
        document,
        kind="promote",
        origin=f"{source}@{there.newest}",
        message=message,
        gated=not as_draft,
    )
    impact = await impact_on(desk, frozen, contexts, override=override_impact or as_draft)
    return Prepared(frozen, impact, keeps_working_copy=False)


def promoted(target: Document, source: Document, parts: Sequence[Part], from_: str, to: str) -> Document:
    put = {}
    for part in parts:
        kind = part[0]
        theirs = unpacked(source.parts[part])
        wanted = resolved(kind, theirs, from_)
        mine = target.parts.get(part)
        others = unpacked(mine).get("environments") if mine is not None else theirs.get("environments")
        # What all environments share comes from there; what each replaces stays, but for this one.
        body = {member: value for member, value in theirs.items() if member != "environments"}
        if mine is not None:
            own = unpacked(mine)
            body |= {member: own[member] for member in OVERRIDABLE[kind] if member in own}
            body = {each: value for each, value in body.items() if each in own or each not in OVERRIDABLE[kind]}
        if others:
            body["environments"] = {name: each for name, each in others.items() if name in target.environments}
        put[part] = packed(overridden(kind, body, to, wanted))
    return target.with_parts(put)


def _named(kind: Kind, keys: Sequence[str] | None, document: Document) -> list[Part]:
    there: list[Part] = sorted(part for part in document.parts if part[0] == kind)
    if keys is None:
        return there
    for key in keys:
        if (kind, key) not in document.parts:
            raise LookupError(f"there is no {kind} `{key}` in what is published there")
    return [(kind, key) for key in dict.fromkeys(keys)]
