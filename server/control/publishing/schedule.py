"""Drafts that wait for a moment, and who publishes them then: each once, however many control planes there are.

    await schedule(tx, desk, draft, publish_at=1795360000.0, by=ann)
    await Scheduler(desk).run()                                     until cancelled

A draft is published as its author made it. Where the environment has moved on meanwhile it is superseded; where it may
not be published any more it has failed, and says why.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import msgspec
import structlog

from server.control.publishing.candidate import basis_of
from server.control.publishing.drafting import check_approvals, check_impact, prepare_draft, report_of
from server.control.publishing.kept import KeptDocuments
from server.control.publishing.publish import Committed, Desk, RulesChangedError, check_current, commit_alone
from server.control.publishing.refusals import ConflictError, RefusedError
from server.record.audit import Actor, note
from server.record.database import RecordUnavailableError, Transaction
from server.record.drafts import FAILED, OPEN, SCHEDULED, SUPERSEDED, WAITING, Draft, change_draft, due_drafts
from server.record.versions import StaleError

SCHEDULE: Final = Actor("schedule")
EVERY: Final = 1.0  # seconds between two looks
LATEST: Final = 366 * 86_400.0  # seconds from now


async def schedule(
    tx: Transaction, draft: Draft, *, publish_at: float, override_impact: bool = False, by: Actor
) -> None:
    """Raises ConflictError, StaleError, NeedsApprovalError, ImpactError: what cannot be published now will not be by
    itself then. It is all looked at again then; `override_impact` holds until it is published or taken off.
    """
    if draft.state not in WAITING:
        raise ConflictError(f"the draft is {draft.state}")
    if not time.time() - 60 <= publish_at <= time.time() + LATEST:
        raise ConflictError("a moment from now to a year from now")
    basis = await basis_of(tx, draft.environment, KeptDocuments())
    check_current(basis, draft.base)
    check_approvals(draft, basis)
    check_impact(draft, basis, override=override_impact)
    report = msgspec.structs.replace(report_of(draft.report), impact_overridden=override_impact)
    await change_draft(tx, draft, state=SCHEDULED, publish_at=publish_at, report=msgspec.json.encode(report))
    target = f"{draft.environment}/drafts/{draft.id}"
    details = {"publishAt": publish_at, **({"overrideImpact": True} if override_impact else {})}
    await note(tx, by, "draft.schedule", target, details, tenant=draft.environment.tenant)


async def unschedule(tx: Transaction, draft: Draft, *, by: Actor) -> None:
    """Open again. Raises ConflictError, StaleError."""
    if draft.state != SCHEDULED:
        raise ConflictError(f"the draft is {draft.state}")
    report = msgspec.structs.replace(report_of(draft.report), impact_overridden=False)
    await change_draft(tx, draft, state=OPEN, report=msgspec.json.encode(report))
    target = f"{draft.environment}/drafts/{draft.id}"
    await note(tx, by, "draft.unschedule", target, {}, tenant=draft.environment.tenant)


class Scheduler:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._log = structlog.get_logger("schedule")

    async def run(self) -> None:
        while True:
            try:
                await self.publish_due()
            except RecordUnavailableError as error:
                self._log.warning("what is scheduled cannot be looked up", error=str(error))
            except Exception:  # no reason for a control plane to end
                self._log.exception("what is scheduled could not be looked at")
            await asyncio.sleep(EVERY)

    async def publish_due(self, now: float | None = None) -> list[Committed]:
        """What is due, the earliest first. Raises RecordUnavailableError."""
        async with self._desk.record.look() as tx:
            due = await due_drafts(tx, time.time() if now is None else now)
        published = []
        for draft in due:
            try:
                published.append(await self._publish(draft))
            except RecordUnavailableError:
                raise
            except RulesChangedError:
                continue  # it is due again at the next look
            except StaleError:
                await self._give_up(draft, SUPERSEDED, "the environment has a newer version")
            except (RefusedError, LookupError) as error:
                await self._give_up(draft, FAILED, str(error))
            except Exception:
                self._log.exception("a scheduled draft could not be published", draft=draft.id)
                await self._give_up(draft, FAILED, "an internal error")
        return published

    async def _publish(self, draft: Draft) -> Committed:
        prepared = await prepare_draft(self._desk, draft, override_impact=report_of(draft.report).impact_overridden)
        return await commit_alone(self._desk, prepared, by=SCHEDULE)

    async def _give_up(self, draft: Draft, state: str, why: str) -> None:
        """Unless another control plane was quicker: then it is not scheduled any more."""
        report = msgspec.structs.replace(report_of(draft.report), failure=why)
        try:
            async with self._desk.record.change() as tx:
                await change_draft(tx, draft, state=state, report=msgspec.json.encode(report))
                target = f"{draft.environment}/drafts/{draft.id}"
                await note(tx, SCHEDULE, f"draft.{state}", target, {"why": why}, tenant=draft.environment.tenant)
        except StaleError:
            return
        self._log.warning("a scheduled draft was not published", draft=draft.id, state=state, why=why)
