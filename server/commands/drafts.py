"""`burgee drafts …`: candidates that stand still for one environment until they are published, or withdrawn."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from rules_compiler import Diagnostic
from server.client.control import Control, path_of
from server.client.standing import environment_path
from server.commands.control import asking, asks_control, environment_argument
from server.commands.differences import print_changes, print_impact
from server.commands.inputs import moment
from server.commands.output import err, out, print_diagnostics, print_json, print_table
from server.control.publishing.diff import Change
from server.types import EnvironmentId

_draft = click.argument("draft", metavar="DRAFT")


@click.group("drafts")
def drafts_group() -> None:
    """Propose, look at, approve and publish drafts."""


@drafts_group.command("list")
@environment_argument
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="So many, newest first.")
@asks_control
def list_drafts(environment: EnvironmentId, limit: int, as_json: bool) -> None:
    """List the drafts of an environment.

    \b
    burgee drafts list shop/web/production
    """
    with asking(as_json=as_json) as control:
        drafts = list(control.pages(_path(environment), most=limit))
    if as_json:
        print_json(drafts)
        return
    columns = ("id", "state", "at", "by", "approvals", "message")
    print_table(
        columns,
        (
            (each["id"], each["state"], each["createdAt"], each["createdBy"], len(each["approvals"]), each["message"])
            for each in drafts
        ),
    )


@drafts_group.command("create")
@environment_argument
@click.option("--message", "-m", default="", help="Why, for the history.")
@asks_control
def create_draft(environment: EnvironmentId, message: str, as_json: bool) -> None:
    """Freeze the working copy as a draft, and say what it would change.

    \b
    burgee drafts create shop/web/production -m "the new checkout"
    """
    with asking(as_json=as_json) as control:
        draft = control.post(_path(environment), {"message": message}).body
    _show(draft, as_json=as_json)


@drafts_group.command("show")
@environment_argument
@_draft
@asks_control
def show_draft(environment: EnvironmentId, draft: str, as_json: bool) -> None:
    """Show a draft: its diagnostics, what it changes, and who approved it."""
    with asking(as_json=as_json) as control:
        found = control.get(_path(environment, draft)).body
    _show(found, as_json=as_json)


@drafts_group.command("approve")
@environment_argument
@_draft
@asks_control
def approve_draft(environment: EnvironmentId, draft: str, as_json: bool) -> None:
    """Approve somebody else's draft."""
    with asking(as_json=as_json) as control:
        _do(control, environment, draft, "approve", None, as_json=as_json)


@drafts_group.command("publish")
@environment_argument
@_draft
@asks_control
def publish_draft(environment: EnvironmentId, draft: str, as_json: bool) -> None:
    """Publish a draft as it stands."""
    with asking(as_json=as_json) as control:
        _do(control, environment, draft, "publish", None, as_json=as_json)


@drafts_group.command("schedule")
@environment_argument
@_draft
@click.option("--at", type=moment, required=True, help="When: RFC 3339.")
@asks_control
def schedule_draft(environment: EnvironmentId, draft: str, at: int, as_json: bool) -> None:
    """Publish a draft at a moment to come.

    \b
    burgee drafts schedule shop/web/production d_0123 --at 2026-12-01T08:00:00+01:00
    """
    when = datetime.fromtimestamp(at / 1000, UTC).isoformat().replace("+00:00", "Z")
    with asking(as_json=as_json) as control:
        _do(control, environment, draft, "schedule", {"publishAt": when}, as_json=as_json)


@drafts_group.command("unschedule")
@environment_argument
@_draft
@asks_control
def unschedule_draft(environment: EnvironmentId, draft: str, as_json: bool) -> None:
    """Do not publish a scheduled draft by itself."""
    with asking(as_json=as_json) as control:
        _do(control, environment, draft, "unschedule", None, as_json=as_json)


@drafts_group.command("withdraw")
@environment_argument
@_draft
@asks_control
def withdraw_draft(environment: EnvironmentId, draft: str, as_json: bool) -> None:
    """Withdraw a draft: it is never published."""
    with asking(as_json=as_json) as control:
        path = _path(environment, draft)
        control.delete(path, etag=control.get(path).etag)
    if as_json:
        print_json({"ok": True})
    else:
        err().print(f"{environment}: draft {draft} is withdrawn", markup=False)


def _path(environment: EnvironmentId, *draft: str) -> str:
    return environment_path(environment.project_id, environment.environment) + path_of("drafts", *draft)


def _do(control: Control, environment: EnvironmentId, draft: str, what: str, body: Any, *, as_json: bool) -> None:
    path = _path(environment, draft)
    answer = control.post(f"{path}/{what}", body, etag=control.get(path).etag).body
    if as_json:
        print_json(answer)
    else:
        err().print(f"{environment}: draft {draft}: {what} done", markup=False)


def _show(draft: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(draft)
        return
    print_diagnostics(draft["id"], msgspec.convert(draft["diagnostics"], list[Diagnostic]))
    out().print(f"{draft['id']}: {draft['state']}, made against version {draft['base']}", markup=False)
    for each in draft["approvals"]:
        out().print(f"approved by {each['by']} at {each['at']}", markup=False)
    if draft["publishAt"]:
        out().print(f"to be published at {draft['publishAt']}", markup=False)
    if draft["failure"]:
        out().print(draft["failure"], markup=False, style="red")
    print_changes(msgspec.convert(draft["changes"], list[Change]))
    print_impact(draft["impact"])
