"""Versions are made here: /tenants/{tenant}/projects/{project}/environments/{environment}/publish and its like.

    POST …/publish            If-Match: "17"                                    the working copy
    POST …/rollback           If-Match: "17"  {"version": 5}                    an older version's document
    POST …/promote            If-Match: "17"  {"from": "staging", "flags": ["checkout"]}
    POST …/flags/{key}/kill                                                     off for everybody, whatever is edited

each becomes `{"version": 18, "live": true, "changes": […], "diagnostics": […]}`, after the commit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final, cast

import msgspec
from aiohttp import web
from msgspec import Meta

from server.control.api.definitions import shown_diagnostics
from server.control.api.document import DryRun
from server.control.api.frame import Answer, Call, Route
from server.control.api.hosts import LONGEST_WAIT, Wait, waited_for
from server.control.api.publishing_problems import as_problems, desk_of
from server.control.hosts import Waited
from server.control.problems import DiagnosticOf, ProblemError, forbidden
from server.control.publishing import drafting
from server.control.publishing.diff import Change
from server.control.publishing.impact import MOST_CONTEXTS, Impact
from server.control.publishing.kill import prepare_kill
from server.control.publishing.promote import prepare_promote
from server.control.publishing.publish import Committed, Prepared, commit, keep_committed, prepare_publish
from server.control.publishing.rollback import prepare_rollback
from server.control.roles import Need, Role
from server.record.database import Transaction
from server.record.history import environment_row
from server.record.projects import number_of
from server.record.versions import StaleError, is_held
from server.types import NAME

PATH = "/tenants/{tenant}/projects/{project}/environments/{environment}"
ATTEMPTS: Final = 20  # of a kill, against others who publish

Contexts = Annotated[tuple[dict[str, Any], ...], Meta(max_length=MOST_CONTEXTS)]
Message = Annotated[str, Meta(max_length=2000)]
Key = Annotated[str, Meta(pattern=f"^{NAME}$")]


class Publish(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    revision: Annotated[int, Meta(ge=0)] | None = None  # of the working copy; null: whatever it is by now
    message: Message = ""
    contexts: Contexts = ()  # to measure the impact with
    override_impact: bool = False  # of admins


class Rollback(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1)]
    message: Message = ""


class Promote(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    source: str = msgspec.field(name="from")
    flags: tuple[Key, ...] | None = None  # null: all
    segments: tuple[Key, ...] | None = ()  # null: all
    message: Message = ""
    contexts: Contexts = ()
    override_impact: bool = False  # of admins
    draft: bool = False  # make a draft of it, where others have to approve


class Kill(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    variant: Key | None = (
        None  # that everybody gets; null: the flag's off variant. Of admins where approvals are needed
    )
    message: Message = ""


class DryRunOrWait(DryRun, frozen=True, rename="camel", forbid_unknown_fields=True):
    wait: Annotated[float, Meta(ge=0, le=LONGEST_WAIT)] = 0.0


class Published(msgspec.Struct, frozen=True, rename="camel"):
    version: int
    live: bool  # hosts are told to serve it; not where something is paused or pinned, or a canary goes first
    changes: tuple[Change, ...]
    diagnostics: tuple[DiagnosticOf, ...]
    impact: Impact
    draft: str | None = None  # in place of a version
    waited: Waited | None = None  # where `?wait=` asks for it: which hosts have it


async def publish(call: Call[Publish, Wait]) -> Answer:
    with as_problems():
        prepared = await prepare_publish(
            desk_of(call.parts),
            call.environment,
            expected=_matched(call),
            revision=call.body.revision,
            message=call.body.message,
            contexts=call.body.contexts,
            override_impact=overrides_impact(call),
        )
        return await commit_and_wait(call, prepared)


async def rollback(call: Call[Rollback, Wait]) -> Answer:
    body = call.body
    with as_problems():
        prepared = await prepare_rollback(
            desk_of(call.parts), call.environment, to=body.version, expected=_matched(call), message=body.message
        )
        return await commit_and_wait(call, prepared)


async def promote(call: Call[Promote, DryRunOrWait]) -> Answer:
    body, dry = call.body, call.query.dry_run
    if body.source == call.environment.environment:
        raise ProblemError(422, "invalid", "from: another environment than this one")
    with as_problems():
        prepared = await prepare_promote(
            desk_of(call.parts),
            call.environment,
            source=body.source,
            flags=body.flags,
            segments=body.segments,
            expected=_anything if dry else _matched(call),
            message=body.message,
            contexts=body.contexts,
            override_impact=overrides_impact(call) or dry,
            as_draft=body.draft or dry,
        )
        if dry:
            return Answer(_unpublished(prepared, None))
        if body.draft:

            async def keep(tx: Transaction) -> Answer:
                draft = await drafting.keep_draft(tx, prepared, by=call.actor)
                return Answer(_unpublished(prepared, draft.id), etag=prepared.frozen.basis.newest)

            return await call.change(keep)
        return await commit_and_wait(call, prepared)


async def kill(call: Call[Kill, Wait]) -> Answer:
    with as_problems():
        for _ in range(ATTEMPTS):
            prepared = await prepare_kill(
                desk_of(call.parts),
                call.environment,
                call.path["key"],
                variant=call.body.variant,
                past_approvals=call.principal.may(Role.ADMIN),
                message=call.body.message,
            )
            try:
                return await commit_and_wait(call, prepared)
            except StaleError:
                continue  # somebody published meanwhile: off it goes all the same
    raise ProblemError(503, "busy", "others publish all the time", headers={"Retry-After": "1"})


def published_view(call: Call[Any, Any], done: Committed) -> Answer:
    if done.told:
        call.tell(call.environment.project_id, done.number)
    view = Published(done.version, done.live, done.changes, shown_diagnostics(done.diagnostics), done.impact)
    return Answer(view, etag=done.version)


async def wait_again(call: Call[Any, Wait], kept: web.Response) -> web.Response:
    """The answer that was kept, with what hosts have by now where the request wants to know."""
    done = msgspec.json.decode(cast(bytes, kept.body))
    if not call.query.wait or done.get("draft") is not None:
        return kept
    async with call.parts.record.look() as tx:
        try:
            await environment_row(tx, call.environment)
        except LookupError:
            return kept
        held, number = await is_held(tx, call.environment), await number_of(tx, call.environment.project_id)
    waited = None if held else await waited_for(call.parts.hosts, call.environment, number, call.query.wait)
    if waited is None:
        return kept
    return web.Response(status=kept.status, body=msgspec.json.encode({**done, "waited": waited}), headers=kept.headers)


async def commit_and_wait(call: Call[Any, Any], prepared: Prepared) -> Answer:
    """Waits after the commit, where the request says so: for hosts that are told of it, and no longer than it says."""
    committed: list[Committed] = []

    async def work(tx: Transaction) -> Answer:
        committed[:] = [await commit(tx, prepared, by=call.actor)]
        return published_view(call, committed[0])

    answer = await call.change(work)
    call.parts.metrics.publishes.labels(prepared.frozen.candidate.kind).inc()
    keep_committed(desk_of(call.parts), prepared)
    if not committed[0].told:
        return answer
    waited = await waited_for(call.parts.hosts, call.environment, committed[0].number, call.query.wait)
    return replace(answer, value=msgspec.structs.replace(answer.value, waited=waited)) if waited else answer


def overrides_impact(call: Call[Any, Any]) -> bool:
    """Raises ProblemError: 403 where the request says so and the key may not."""
    if call.body.override_impact and not call.principal.may(Role.ADMIN):
        raise forbidden("only an admin overrides the impact threshold")
    overrides: bool = call.body.override_impact
    return overrides


def _unpublished(prepared: Prepared, draft: str | None) -> Published:
    frozen = prepared.frozen
    shown = shown_diagnostics(frozen.diagnostics)
    return Published(frozen.basis.newest, False, frozen.changes, shown, prepared.impact, draft)


def _matched(call: Call[Any, Any]) -> Callable[[int], None]:
    """428, 412: the change is not made against the newest version."""
    return lambda newest: call.require_match(newest, {"version": newest})


def _anything(newest: int) -> None:
    """A dry run changes nothing."""


_EDITOR = Need(Role.EDITOR)
ROUTES = (
    Route(
        "environment_publish", "POST", f"{PATH}/publish", _EDITOR, publish, "publish the working copy",
        answer=Published, statuses=(409, 422), body=Publish, body_optional=True, conditional=True, query=Wait,
        again=wait_again,
    ),
    Route(
        "environment_rollback", "POST", f"{PATH}/rollback", _EDITOR, rollback, "a new version with an older document",
        answer=Published, statuses=(422,), body=Rollback, conditional=True, query=Wait, again=wait_again,
    ),
    Route(
        "environment_promote", "POST", f"{PATH}/promote", _EDITOR, promote, "flags as they are published elsewhere",
        answer=Published, statuses=(409, 412, 422, 428), body=Promote, query=DryRunOrWait,
        again=wait_again,
    ),
    Route(
        "flag_kill", "POST", f"{PATH}/flags/{{key}}/kill", _EDITOR, kill, "a flag off for everybody, at once",
        answer=Published, statuses=(409, 422), body=Kill, body_optional=True, query=Wait, again=wait_again,
    ),
)  # fmt: skip
