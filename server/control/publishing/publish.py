"""From the working copy to a version: prepared outside the transaction, committed within it.

    prepared = await prepare_publish(desk, environment, expected=17)        compiled as 18; nothing has changed
    async with record.change() as tx:
        done = await commit(tx, prepared, by=actor)                         Committed(version=18, live=True, …)
    if done.told: feed.changed(environment.project_id, done.number)         after the commit

A commit is refused where somebody was quicker (StaleError): the snapshot has a number that is taken, or what decides
whether it may be published is not what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from rules_compiler import Diagnostic
from server.control.feed import Feed
from server.control.metrics import ControlMetrics
from server.control.publishing.candidate import Basis, Frozen, freeze, newest_snapshot, rules_of, working_basis
from server.control.publishing.diff import Change
from server.control.publishing.edits import edits_for, touched_parts
from server.control.publishing.impact import Context, Impact, ImpactError, RecentContexts, impact_of
from server.control.publishing.kept import KeptDocuments
from server.control.publishing.refusals import NeedsApprovalError
from server.record.audit import Actor, note
from server.record.canaries import plan_of
from server.record.database import Record, Transaction
from server.record.definitions import apply_edits, begin_edit, bodies_of, environment_names
from server.record.drafts import PUBLISHED, Draft, change_draft
from server.record.history import environment_row
from server.record.projects import number_of
from server.record.versions import StaleError, commit_version
from server.sources.compiling import Compiler
from server.types import EnvironmentId

NO_IMPACT: Final = Impact(0)
Expected = int | Callable[[int], None]  # the newest version that the caller has seen, or who is to say if it is right
OVERRIDDEN: Final = "environment.override-impact"  # in the audit
TRIED: Final = ("publish", "promote")  # kinds that a canary goes before; a rollback and a kill are for all at once


@dataclass(frozen=True, slots=True)
class Desk:
    """What publishing is done with."""

    record: Record
    compiler: Compiler
    feed: Feed
    contexts: RecentContexts = field(default_factory=RecentContexts)
    metrics: ControlMetrics = field(default_factory=ControlMetrics)
    kept: KeptDocuments = field(default_factory=KeptDocuments)


@dataclass(frozen=True, slots=True)
class Prepared:
    frozen: Frozen
    impact: Impact = NO_IMPACT
    keeps_working_copy: bool = True  # False: what it changes is done to the working copy too
    draft: Draft | None = None  # that it was frozen in

    @property
    def environment(self) -> EnvironmentId:
        return self.frozen.basis.environment


class RulesChangedError(StaleError):
    """The environment's settings are not those that it was prepared under. Prepare it again."""


@dataclass(frozen=True, slots=True)
class Committed:
    version: int
    told: bool  # hosts are to hear of it: nothing is held
    live: bool  # for all their workers: no canary goes first
    number: int  # of the project, for the feed
    diagnostics: tuple[Diagnostic, ...]
    changes: tuple[Change, ...]
    impact: Impact


async def prepare_publish(
    desk: Desk,
    environment: EnvironmentId,
    *,
    expected: Expected,
    revision: int | None = None,
    message: str = "",
    contexts: Sequence[Context] = (),
    override_impact: bool = False,
) -> Prepared:
    """The working copy, at once; of that revision, where one is said.

    Raises LookupError, StaleError and what refusals.py has.
    """
    async with desk.record.look() as tx:
        basis, document = await working_basis(tx, environment, desk.kept, revision=revision)
    check_current(basis, expected)
    if basis.rules.approvals:
        raise NeedsApprovalError(
            f"`{environment}` needs {approvals_text(basis.rules.approvals)} (hint: make a draft of it)"
        )
    frozen = await freeze(desk.compiler, basis, document, kind="publish", message=message)
    impact = await impact_on(desk, frozen, contexts, override=override_impact)
    return Prepared(frozen, impact)


async def commit(tx: Transaction, prepared: Prepared, *, by: Actor) -> Committed:
    """Raises StaleError. INVARIANT: rows are locked as environment, project, flags, tenant; everywhere."""
    frozen, environment = prepared.frozen, prepared.environment
    row = await environment_row(tx, environment, lock=True)
    if row.version != frozen.basis.newest:
        raise StaleError(row.version)
    if rules_of(row.settings) != frozen.basis.rules:
        raise RulesChangedError(row.version)
    if prepared.draft is not None:
        await change_draft(tx, prepared.draft, state=PUBLISHED)
    if not prepared.keeps_working_copy:
        await _edit_working_copy(tx, frozen, by)
    canary = plan_of(row.settings) if frozen.candidate.kind in TRIED else None
    told = await commit_version(
        tx, environment, expected=frozen.basis.newest, candidate=frozen.candidate, by=by, canary=canary
    )
    if prepared.impact.is_above(frozen.basis.rules.impact_threshold):
        worst = prepared.impact.flags[0]
        details = {"version": frozen.candidate.number, "flag": worst.flag, "share": worst.share}
        await note(tx, by, OVERRIDDEN, str(environment), details, tenant=environment.tenant)
    return Committed(
        version=frozen.candidate.number,
        told=told,
        live=told and (canary is None or not row.live_version),  # there is nothing to try the first one beside
        number=await number_of(tx, environment.project_id),
        diagnostics=frozen.diagnostics,
        changes=frozen.changes,
        impact=prepared.impact,
    )


async def commit_alone(desk: Desk, prepared: Prepared, *, by: Actor) -> Committed:
    """In a transaction of its own, and the feed is told."""
    async with desk.record.change() as tx:
        done = await commit(tx, prepared, by=by)
    desk.metrics.publishes.labels(prepared.frozen.candidate.kind).inc()
    keep_committed(desk, prepared)
    if done.told:
        desk.feed.changed(prepared.environment.project_id, done.number)
    return done


def keep_committed(desk: Desk, prepared: Prepared) -> None:
    """The next one is made against it."""
    frozen = prepared.frozen
    desk.kept.keep(prepared.environment.project_id, frozen.candidate.document_digest, frozen.document)


async def impact_on(desk: Desk, frozen: Frozen, contexts: Sequence[Context], *, override: bool = False) -> Impact:
    """Of the contexts that are given and of those that are kept: the larger one.

    Raises ImpactError where one flag flips for a larger share than the environment allows.
    """
    basis = frozen.basis
    kept = desk.contexts.of(basis.environment) if basis.rules.sample_contexts else ()
    groups = [tuple(each) for each in (contexts, kept) if each]
    if not groups or not frozen.changes:
        return Impact(len(groups[0]) if groups else 0)
    async with desk.record.look() as tx:
        before = await newest_snapshot(tx, basis)
    project = basis.environment.project_id
    largest = Impact(0)
    for some in groups:
        impact = await desk.compiler.run(project, impact_of, before, frozen.candidate.snapshot, some)
        if impact is None:
            if basis.rules.impact_threshold is not None and not override:
                raise ImpactError("the impact could not be measured", Impact(0))
            continue
        largest = max(largest, impact, key=lambda each: (each.largest, each.contexts))
    largest.check(basis.rules.impact_threshold, override=override)
    return largest


def check_current(basis: Basis, expected: Expected) -> None:
    """Raises StaleError, or what `expected` raises."""
    if not isinstance(expected, int):
        expected(basis.newest)
    elif basis.newest != expected:
        raise StaleError(basis.newest)


def approvals_text(number: int) -> str:
    return "an approval" if number == 1 else f"{number} approvals"


async def _edit_working_copy(tx: Transaction, frozen: Frozen, by: Actor) -> None:
    basis, project = frozen.basis, frozen.basis.environment.project_id
    name = basis.environment.environment
    if not touched_parts(basis.published, frozen.document, name):
        return
    edited = await begin_edit(tx, project)
    working = await bodies_of(tx, project)
    edits = edits_for(basis.published, frozen.document, name, working, await environment_names(tx, project))
    if edits:
        await apply_edits(tx, project, edits, edited=edited, by=by)
        details = {"put": [f"{kind}s.{key}" for kind, key in sorted(edits.put)], "with": frozen.candidate.kind}
        await note(tx, by, "document.adjust", str(project), details, tenant=project.tenant)
