"""Drafts of an environment: /tenants/{tenant}/projects/{project}/environments/{environment}/drafts.

POST …/drafts {"message": "checkout for 20 %"}      201 {"id": "d_…", "base": 17, "changes": […], "diagnostics": […]}
POST …/drafts/{id}/approve, /publish, /schedule     with If-Match: the draft's ETag
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.control.api.definitions import shown_diagnostics
from server.control.api.frame import Answer, Call, Page, PageQuery, Route, found
from server.control.api.hosts import Wait
from server.control.api.publishing import Contexts, Published, commit_and_wait, overrides_impact, wait_again
from server.control.api.publishing_problems import as_problems, desk_of
from server.control.problems import DiagnosticOf
from server.control.publishing import drafting, schedule
from server.control.publishing.diff import Change
from server.control.publishing.impact import Impact
from server.control.roles import Need, Role
from server.record.database import Transaction
from server.record.drafts import Draft, get_draft, list_drafts
from server.record.history import environment_row

PATH = "/tenants/{tenant}/projects/{project}/environments/{environment}/drafts"
ONE = f"{PATH}/{{id}}"


class NewDraft(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    revision: Annotated[int, Meta(ge=0)] | None = None  # of the working copy; null: whatever it is by now
    message: Annotated[str, Meta(max_length=2000)] = ""
    contexts: Contexts = ()  # to measure the impact with


class Schedule(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    publish_at: Annotated[datetime, Meta(tz=True)]
    override_impact: bool = False  # of admins


class PublishDraft(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    override_impact: bool = False  # of admins


class ApprovalView(msgspec.Struct, frozen=True):
    by: str
    at: datetime


class DraftItem(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    state: str  # open, scheduled, published, withdrawn, superseded, failed
    revision: int
    kind: str
    origin: str
    base: int  # the environment's version that it was made against
    message: str
    approvals: tuple[ApprovalView, ...]
    publish_at: datetime | None
    created_at: datetime
    created_by: str


class DraftView(DraftItem, frozen=True, rename="camel"):
    changes: tuple[Change, ...] = ()
    diagnostics: tuple[DiagnosticOf, ...] = ()
    impact: Impact | None = None
    failure: str = ""


class DraftsQuery(PageQuery, frozen=True, rename="camel", forbid_unknown_fields=True):
    state: str = ""


async def create(call: Call[NewDraft, None]) -> Answer:
    with as_problems():
        prepared = await drafting.prepare_working_draft(
            desk_of(call.parts),
            call.environment,
            revision=call.body.revision,
            message=call.body.message,
            contexts=call.body.contexts,
        )

        async def work(tx: Transaction) -> Answer:
            draft = await drafting.keep_draft(tx, prepared, by=call.actor)
            return Answer(_view(draft), status=201, etag=draft.revision)

        return await call.change(work)


async def list_all(call: Call[None, DraftsQuery]) -> Answer:
    query = call.query
    with as_problems():
        async with call.parts.record.look() as tx:
            await environment_row(tx, call.environment)
            states = (query.state,) if query.state else ()
            rows = await list_drafts(tx, call.environment, states=states, after=query.after, limit=query.limit + 1)
    shown = rows[: query.limit]
    items = tuple(DraftItem(**_members(each)) for each in shown)
    return Answer(Page(items, shown[-1].id if len(rows) > query.limit else None))


async def get(call: Call[None, None]) -> Answer:
    async with call.parts.record.look() as tx:
        draft = await _there(tx, call)
    return Answer(_view(draft), etag=draft.revision)


async def approve(call: Call[None, None]) -> Answer:
    async def work(tx: Transaction) -> Answer:
        await drafting.approve(tx, await _matched(tx, call), by=call.actor)
        return await _again(tx, call)

    with as_problems():
        return await call.change(work)


async def withdraw(call: Call[None, None]) -> Answer:
    async def work(tx: Transaction) -> Answer:
        await drafting.withdraw(tx, await _matched(tx, call), by=call.actor)
        return Answer(status=204)

    with as_problems():
        return await call.change(work)


async def put_on_schedule(call: Call[Schedule, None]) -> Answer:
    async def work(tx: Transaction) -> Answer:
        at = call.body.publish_at.timestamp()
        draft = await _matched(tx, call)
        await schedule.schedule(tx, draft, publish_at=at, override_impact=overrides_impact(call), by=call.actor)
        return await _again(tx, call)

    with as_problems():
        return await call.change(work)


async def take_off_schedule(call: Call[None, None]) -> Answer:
    async def work(tx: Transaction) -> Answer:
        await schedule.unschedule(tx, await _matched(tx, call), by=call.actor)
        return await _again(tx, call)

    with as_problems():
        return await call.change(work)


async def publish(call: Call[PublishDraft, Wait]) -> Answer:
    with as_problems():
        async with call.parts.record.look() as tx:
            draft = await _matched(tx, call)
        prepared = await drafting.prepare_draft(desk_of(call.parts), draft, override_impact=overrides_impact(call))
        return await commit_and_wait(call, prepared)


async def _matched(tx: Transaction, call: Call[Any, Any]) -> Draft:
    draft = await _there(tx, call)
    call.require_match(draft.revision, _view(draft))
    return draft


async def _again(tx: Transaction, call: Call[Any, Any]) -> Answer:
    draft = await _there(tx, call)
    return Answer(_view(draft), etag=draft.revision)


async def _there(tx: Transaction, call: Call[Any, Any]) -> Draft:
    with as_problems():
        await environment_row(tx, call.environment)
    return found(await get_draft(tx, call.environment, call.path["id"]))


def _view(draft: Draft) -> DraftView:
    report = drafting.report_of(draft.report)
    return DraftView(
        **_members(draft),
        changes=report.changes,
        diagnostics=shown_diagnostics(report.diagnostics),
        impact=report.impact,
        failure=report.failure,
    )


def _members(draft: Draft) -> dict[str, Any]:
    return {
        "id": draft.id,
        "state": draft.state,
        "revision": draft.revision,
        "kind": draft.kind,
        "origin": draft.origin,
        "base": draft.base,
        "message": draft.message,
        "approvals": tuple(ApprovalView(each.by, datetime.fromtimestamp(each.at, UTC)) for each in draft.approvals),
        "publish_at": datetime.fromtimestamp(draft.publish_at, UTC) if draft.publish_at is not None else None,
        "created_at": datetime.fromtimestamp(draft.created_at, UTC),
        "created_by": draft.created_by,
    }


_VIEWER, _EDITOR = Need(Role.VIEWER), Need(Role.EDITOR)
ROUTES = (
    Route(
        "drafts_list", "GET", PATH, _VIEWER, list_all, "drafts, the newest first",
        answer=Page[DraftItem], query=DraftsQuery,
    ),
    Route(
        "draft_create", "POST", PATH, _EDITOR, create, "freeze the working copy as a candidate",
        answer=DraftView, status=201, statuses=(409, 422), body=NewDraft, body_optional=True,
    ),
    Route("draft_get", "GET", ONE, _VIEWER, get, "one draft: diagnostics, changes, impact", answer=DraftView),
    Route(
        "draft_withdraw", "DELETE", ONE, _EDITOR, withdraw, "withdraw it",
        status=204, statuses=(409,), conditional=True,
    ),
    Route(
        "draft_approve", "POST", f"{ONE}/approve", _EDITOR, approve, "agree to it; not to one's own",
        answer=DraftView, statuses=(409,), conditional=True,
    ),
    Route(
        "draft_schedule", "POST", f"{ONE}/schedule", _EDITOR, put_on_schedule, "publish it at a moment",
        answer=DraftView, statuses=(409, 422), body=Schedule, conditional=True,
    ),
    Route(
        "draft_unschedule", "POST", f"{ONE}/unschedule", _EDITOR, take_off_schedule, "do not publish it by itself",
        answer=DraftView, statuses=(409,), conditional=True,
    ),
    Route(
        "draft_publish", "POST", f"{ONE}/publish", _EDITOR, publish, "publish it",
        answer=Published, statuses=(409, 422), body=PublishDraft, body_optional=True, conditional=True,
        query=Wait, again=wait_again,
    ),
)  # fmt: skip
