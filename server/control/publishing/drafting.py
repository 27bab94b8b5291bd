"""Drafts: made of the working copy, approved by others than their author, published or withdrawn.

prepared = await prepare_working_draft(desk, environment)               frozen, with diagnostics, changes, impact
draft = await keep_draft(tx, prepared, by=ann)
await approve(tx, draft, by=bob)                                        what bob saw is what will be published
prepared = await prepare_draft(desk, draft)                             then as in publish.py
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from rules_compiler import Diagnostic
from server.control.publishing.candidate import Basis, Frozen, basis_of, freeze, working_basis
from server.control.publishing.diff import Change
from server.control.publishing.documents import taken_apart
from server.control.publishing.impact import Context, Impact
from server.control.publishing.publish import Desk, Prepared, approvals_text, check_current, impact_on
from server.control.publishing.refusals import ConflictError, NeedsApprovalError
from server.record.audit import Actor, note
from server.record.database import Transaction
from server.record.drafts import OPEN, WAITING, WITHDRAWN, Approval, Draft, change_draft, count_drafts, insert_draft
from server.record.versions import document_of, store_document
from server.types import EnvironmentId

MOST_WAITING: Final = 100  # drafts of an environment that are open or scheduled


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a draft when it is made."""

    diagnostics: tuple[Diagnostic, ...] = ()
    changes: tuple[Change, ...] = ()
    impact: Impact | None = None
    failure: str = ""  # of a scheduled one that could not be published
    impact_overridden: bool = False  # by whoever scheduled it


report_of = msgspec.json.Decoder(Report).decode


async def prepare_working_draft(
    desk: Desk,
    environment: EnvironmentId,
    *,
    revision: int | None = None,
    message: str = "",
    contexts: Sequence[Context] = (),
) -> Prepared:
    """The working copy, frozen; of that revision, where one is said.

    Raises LookupError, EditedError, DoesNotCompileError.
    """
    async with desk.record.look() as tx:
        basis, document = await working_basis(tx, environment, desk.kept, revision=revision)
    frozen = await freeze(desk.compiler, basis, document, kind="publish", message=message, gated=False)
    return Prepared(frozen, await impact_on(desk, frozen, contexts, override=True))


async def keep_draft(tx: Transaction, prepared: Prepared, *, by: Actor) -> Draft:
    """What was prepared, in place of publishing it. Raises ConflictError."""
    frozen, candidate = prepared.frozen, prepared.frozen.candidate
    environment = prepared.environment
    if await count_drafts(tx, environment, WAITING) >= MOST_WAITING:
        raise ConflictError(f"`{environment}` has {MOST_WAITING} drafts that wait (hint: withdraw or publish some)")
    await store_document(tx, environment.project_id, candidate.document_digest, candidate.document)
    draft = await insert_draft(
        tx,
        environment,
        kind=candidate.kind,
        origin=candidate.origin,
        document=candidate.document_digest,
        base=frozen.basis.newest,
        message=candidate.message,
        report=msgspec.json.encode(Report(frozen.diagnostics, frozen.changes, prepared.impact)),
        by=by,
    )
    await _note(tx, draft, "draft.create", by, {"document": draft.document, "base": draft.base})
    return draft


async def prepare_draft(desk: Desk, draft: Draft, *, override_impact: bool = False) -> Prepared:
    """Compiled again, with the number that is next now. Raises StaleError where the environment has moved on."""
    if draft.state not in WAITING:
        raise ConflictError(f"the draft is {draft.state}")
    async with desk.record.look() as tx:
        basis = await basis_of(tx, draft.environment, desk.kept)
        content = await document_of(tx, draft.environment.project_id, draft.document)
    check_current(basis, draft.base)
    check_approvals(draft, basis)
    if content is None:
        raise LookupError("the document of the draft is gone")
    frozen = await freeze(
        desk.compiler,
        basis,
        taken_apart(content),
        content=content,
        kind=draft.kind,
        origin=draft.origin,
        message=draft.message,
        draft=draft.id,
    )
    impact = await _impact_again(desk, draft, frozen, override_impact)
    return Prepared(frozen, impact, keeps_working_copy=draft.kind == "publish", draft=draft)


def check_approvals(draft: Draft, basis: Basis) -> None:
    """Raises NeedsApprovalError."""
    given = len({each.by for each in draft.approvals} - {draft.created_by})
    if given < basis.rules.approvals:
        missing = approvals_text(basis.rules.approvals - given)
        raise NeedsApprovalError(f"`{draft.environment}` needs {missing} more, by others than the author")


def check_impact(draft: Draft, basis: Basis, *, override: bool) -> Impact:
    """As it was when the draft was made. Raises ImpactError."""
    impact = report_of(draft.report).impact or Impact(0)
    impact.check(basis.rules.impact_threshold, override=override)
    return impact


async def approve(tx: Transaction, draft: Draft, *, by: Actor) -> None:
    """Raises ConflictError, StaleError."""
    if draft.state != OPEN:
        raise ConflictError(f"the draft is {draft.state}")
    if by.name == draft.created_by:
        raise ConflictError("nobody approves a draft of their own")
    if any(each.by == by.name for each in draft.approvals):
        raise ConflictError("it has this approval already")
    approval = Approval(by.name, round(time.time(), 3))
    await change_draft(tx, draft, approvals=(*draft.approvals, approval))
    await _note(tx, draft, "draft.approve", by, {"document": draft.document})


async def withdraw(tx: Transaction, draft: Draft, *, by: Actor) -> None:
    """Raises ConflictError, StaleError."""
    if draft.state not in WAITING:
        raise ConflictError(f"the draft is {draft.state}")
    await change_draft(tx, draft, state=WITHDRAWN)
    await _note(tx, draft, "draft.withdraw", by, {})


async def _impact_again(desk: Desk, draft: Draft, frozen: Frozen, override: bool) -> Impact:
    """Of the contexts that are kept now, and as it was when it was made: those it was measured with are gone."""
    then = check_impact(draft, frozen.basis, override=override)
    now = await impact_on(desk, frozen, (), override=override)
    return max(then, now, key=lambda each: (each.largest, each.contexts))


async def _note(tx: Transaction, draft: Draft, action: str, by: Actor, details: dict[str, Any]) -> None:
    target = f"{draft.environment}/drafts/{draft.id}"
    await note(tx, by, action, target, details, tenant=draft.environment.tenant)
