"""`burgee publish|rollback|promote|kill`: what becomes the next version of an environment."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from rules_compiler import Diagnostic
from server.client.control import Control, path_of, version_tag
from server.client.standing import environment_path
from server.commands.control import asking, asks_control, environment_argument, is_name, project_argument
from server.commands.differences import print_changes, print_impact
from server.commands.output import err, print_diagnostics, print_json
from server.control.publishing.diff import Change
from server.types import EnvironmentId, ProjectId

LONGEST_WAIT = 60.0  # seconds; the control plane waits no longer
NOT_EVERYWHERE = 4  # the exit code

_message = click.option("--message", "-m", default="", help="Why, for the history.")
_if_version = click.option(
    "--if-version", type=click.IntRange(0), help="Only while this is the newest version (else: the one that is, now)."
)
_wait = click.option(
    "--wait",
    type=click.FloatRange(0, LONGEST_WAIT),
    default=0.0,
    metavar="SECONDS",
    help="Wait until every worker of every host has it. Exit code 4: not in that time, or nobody was waited for.",
)


def _name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not is_name(value):
        raise click.BadParameter("not the name of an environment")
    return value


@click.command("publish")
@environment_argument
@_message
@_wait
@_if_version
@asks_control
def publish_command(
    environment: EnvironmentId, message: str, wait: float, if_version: int | None, as_json: bool
) -> None:
    """Make the working copy the next version of an environment.

    \b
    burgee publish shop/web/staging -m "the new checkout"
    burgee publish shop/web/production --wait 5 --if-version 17
    """
    with asking(as_json=as_json) as control:
        body = _publish(control, environment, "publish", {"message": message}, if_version, wait)
    _say(environment, body, wait, as_json=as_json)


@click.command("rollback")
@environment_argument
@click.argument("version", type=click.IntRange(1))
@_message
@_wait
@_if_version
@asks_control
def rollback_command(
    environment: EnvironmentId, version: int, message: str, wait: float, if_version: int | None, as_json: bool
) -> None:
    """Publish again what VERSION was, as a new version. `burgee history` lists them.

    \b
    burgee rollback shop/web/production 16
    """
    with asking(as_json=as_json) as control:
        body = _publish(control, environment, "rollback", {"version": version, "message": message}, if_version, wait)
    _say(environment, body, wait, as_json=as_json)


@click.command("promote")
@project_argument
@click.argument("source", metavar="FROM", callback=_name)
@click.argument("target", metavar="TO", callback=_name)
@click.option("--flag", "flags", multiple=True, metavar="KEY", help="Only this flag. May be repeated.")
@click.option("--segment", "segments", multiple=True, metavar="KEY", help="And this segment. May be repeated.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and do nothing.")
@_message
@_wait
@_if_version
@asks_control
def promote_command(
    project: ProjectId,
    source: str,
    target: str,
    flags: tuple[str, ...],
    segments: tuple[str, ...],
    dry_run: bool,
    message: str,
    wait: float,
    if_version: int | None,
    as_json: bool,
) -> None:
    """Publish flags and segments as they are in FROM to another environment, TO, of the project.

    \b
    burgee promote shop/web staging production --dry-run
    burgee promote shop/web staging production --flag checkout --flag basket
    """
    environment = EnvironmentId(*project, target)
    # Nothing is named: all there is.
    some = bool(flags or segments)
    wanted: dict[str, Any] = {
        "from": source,
        "message": message,
        "flags": flags if some else None,
        "segments": segments if some else None,
    }
    with asking(as_json=as_json) as control:
        if dry_run:
            path = f"{environment_path(project, target)}/promote"
            body = control.post(path, wanted, query={"dryRun": "true"}).body
        else:
            body = _publish(control, environment, "promote", wanted, if_version, wait)
    if not dry_run or as_json:
        _say(environment, body, wait, as_json=as_json)
    else:
        print_changes(msgspec.convert(body["changes"], list[Change]))
        err().print(f"{environment}: nothing is done", markup=False)


@click.command("kill")
@environment_argument
@click.argument("flag")
@click.option("--variant", help="That everybody gets, in place of the flag's off variant.")
@_message
@_wait
@asks_control
def kill_command(
    environment: EnvironmentId, flag: str, variant: str | None, message: str, wait: float, as_json: bool
) -> None:
    """Switch FLAG off for everybody in one environment, at once, whatever else is being edited.

    \b
    burgee kill shop/web/production checkout -m "orders are lost"
    """
    wanted = {"message": message, **({"variant": variant} if variant is not None else {})}
    with asking(as_json=as_json) as control:
        path = f"{environment_path(environment.project_id, environment.environment)}{path_of('flags', flag)}/kill"
        body = control.post(path, wanted, query=_waiting(wait)).body
    _say(environment, body, wait, as_json=as_json)


def _publish(
    control: Control, environment: EnvironmentId, what: str, wanted: Any, if_version: int | None, wait: float
) -> Any:
    here = environment_path(environment.project_id, environment.environment)
    version = control.get(here).body["version"] if if_version is None else if_version
    return control.post(f"{here}/{what}", wanted, etag=version_tag(version), query=_waiting(wait)).body


def _waiting(wait: float) -> dict[str, float]:
    return {"wait": wait} if wait else {}


def _say(environment: EnvironmentId, done: Any, wait: float, *, as_json: bool) -> None:
    waited = done.get("waited")
    if as_json:
        print_json(done)
        raise SystemExit(NOT_EVERYWHERE if wait and not (waited and waited["done"]) else 0)
    print_diagnostics(str(environment), msgspec.convert(done["diagnostics"], list[Diagnostic]))
    print_changes(msgspec.convert(done["changes"], list[Change]))
    print_impact(done["impact"])
    held = "" if done["live"] else ", which hosts do not have yet: it is paused or pinned, or a canary goes first"
    err().print(f"{environment}: version {done['version']}{held}", markup=False, style="green")
    if waited is not None:
        _say_who_has_it(waited)
    elif wait:
        why = "no host reports here" if done["live"] else "hosts are not told of it yet"
        err().print(f"{environment}: nothing was waited for: {why}", markup=False, style="yellow")
        raise SystemExit(NOT_EVERYWHERE)


def _say_who_has_it(waited: Any) -> None:
    for each in waited["hosts"]:
        state = "has it" if each["done"] else "is held" if each["held"] else each.get("why") or "does not have it yet"
        err().print(f"{each['host']}: {state}", markup=False, style="" if each["done"] else "yellow")
    for name in waited["silent"]:
        err().print(f"{name}: says nothing, and is not waited for", markup=False, style="yellow")
    if not waited["done"]:
        raise SystemExit(NOT_EVERYWHERE)
