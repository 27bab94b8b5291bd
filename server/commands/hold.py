"""`burgee pause|resume|pin|unpin`: hosts stay at what they have, whatever is published."""

from __future__ import annotations

import click

from server.client.control import path_of
from server.client.standing import environment_path
from server.commands.control import Place, asking, asks_control, environment_argument
from server.commands.output import err, print_json
from server.types import EnvironmentId

_place = click.argument("place", type=Place(1, 3), required=False, metavar="[TENANT[/PROJECT[/ENVIRONMENT]]]")


@click.command("pause")
@_place
@asks_control
def pause_command(place: tuple[str, ...] | None, as_json: bool) -> None:
    """Stop what is published from reaching hosts: of an environment, a project, a tenant, or everywhere.

    Versions go on being made; `burgee resume` lets hosts have the newest.

    \b
    burgee pause shop/web/production
    burgee pause
    """
    _hold("pause", place or (), as_json=as_json)


@click.command("resume")
@_place
@asks_control
def resume_command(place: tuple[str, ...] | None, as_json: bool) -> None:
    """End a pause: hosts get the newest version of what is not held otherwise.

    \b
    burgee resume shop/web/production
    """
    _hold("resume", place or (), as_json=as_json)


@click.command("pin")
@environment_argument
@click.argument("version", type=click.IntRange(1), required=False)
@asks_control
def pin_command(environment: EnvironmentId, version: int | None, as_json: bool) -> None:
    """Hold hosts at VERSION of an environment, by default at the one they have, until `burgee unpin`.

    Hosts never go back: to have an older version, use `burgee rollback`.

    \b
    burgee pin shop/web/production 17
    """
    _pin(environment, {} if version is None else {"version": version}, "pin", as_json=as_json)


@click.command("unpin")
@environment_argument
@asks_control
def unpin_command(environment: EnvironmentId, as_json: bool) -> None:
    """End a pin: hosts get the newest version.

    \b
    burgee unpin shop/web/production
    """
    _pin(environment, None, "unpin", as_json=as_json)


def _hold(what: str, place: tuple[str, ...], *, as_json: bool) -> None:
    kinds = ("tenants", "projects", "environments")
    path = "".join(path_of(kind, name) for kind, name in zip(kinds, place, strict=False))
    with asking(as_json=as_json) as control:
        answer = control.post(f"{path}/{what}").body
    if as_json:
        print_json(answer)
    else:
        err().print(f"{'/'.join(place) or 'everything'}: {what}d", markup=False)


def _pin(environment: EnvironmentId, body: dict[str, int] | None, what: str, *, as_json: bool) -> None:
    here = environment_path(environment.project_id, environment.environment)
    with asking(as_json=as_json) as control:
        answer = control.post(f"{here}/{what}", body).body
    if as_json:
        print_json(answer)
    else:
        err().print(f"{environment}: {what}ned", markup=False)
