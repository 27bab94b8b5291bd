"""What the commands that ask a control plane share: its address, the key, what they are asked about, and how they fail.

    burgee history shop/web/production --control https://flags.example --key-file admin.key

The key is that of --key-file, else of BURGEE_ADMIN_KEY, else, of a control plane on this machine, the one it wrote into
its state folder on its first start.

Exit codes: 3 where the control plane refuses, or cannot be reached.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from server.client.connection import Connection
from server.client.control import RETRY_FOR, Control
from server.client.credentials import key_for
from server.client.problems import ControlError, RefusedError
from server.commands.output import err, fail, json_option, print_diagnostics, print_json
from server.types import NAME, EnvironmentId, ProjectId

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT = "http://127.0.0.1:8082"
REFUSED = 3  # the exit code
OPTIONS = "burgee.control"


def _kept(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    ctx.meta.setdefault(OPTIONS, {})[param.name] = value


_control = click.option(
    "--control",
    default=DEFAULT,
    show_default=True,
    envvar="BURGEE_CONTROL",
    show_envvar=True,
    metavar="URL",
    expose_value=False,
    callback=_kept,
    help="Address of the control plane.",
)
_key_file = click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    expose_value=False,
    callback=_kept,
    help="File with an admin key; else BURGEE_ADMIN_KEY, else admin.key of a server here.",
)
_state = click.option(
    "--state",
    type=click.Path(path_type=Path),
    envvar="BURGEE_STATE",
    show_envvar=True,
    expose_value=False,
    callback=_kept,
    help="State folder of the server here, for its admin.key.",
)
_retry_for = click.option(
    "--retry-for",
    type=click.FloatRange(0, 600),
    default=RETRY_FOR,
    show_default=True,
    expose_value=False,
    callback=_kept,
    metavar="SECONDS",
    help="How long to try again what cannot be reached.",
)


def asks_control(command: F) -> F:
    """The options of a command that asks a control plane; `asking` uses them."""
    for option in (json_option, _retry_for, _state, _key_file, _control):
        command = option(command)
    return command


@contextlib.contextmanager
def asking(*, as_json: bool) -> Iterator[Control]:
    """The control plane that the options of this call name. What it refuses ends the command."""
    given = click.get_current_context().meta[OPTIONS]
    try:
        key = key_for(given["control"], given["key_file"], os.environ.get("BURGEE_ADMIN_KEY", ""), given["state"])
        with Control(Connection(given["control"]), key, retry_for=given["retry_for"]) as control:
            yield control
    except RefusedError as error:
        refused(error, as_json=as_json)
    except ControlError as error:
        fail(str(error), as_json=as_json, code=REFUSED)


def refused(error: RefusedError, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": False, "error": str(error), "problem": error.problem})
    else:
        print_diagnostics("", error.diagnostics)
        err().print(f"error: {error}", markup=False, style="red")
    raise SystemExit(REFUSED)


class Place(click.ParamType[Any]):
    """`shop/web/production`: a tenant, a project, an environment, as many as are asked for."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most
        self.name = "/".join(("TENANT", "PROJECT", "ENVIRONMENT")[:most])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        parts = tuple(value.split("/"))
        if not self._least <= len(parts) <= self._most or not all(is_name(each) for each in parts):
            self.fail(f"`{value}` is not {self.name.lower()} (hint: {EXAMPLES[self._most]})", param, ctx)
        return parts


class ProjectPlace(Place):
    def __init__(self) -> None:
        super().__init__(2, 2)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ProjectId:
        return ProjectId(*super().convert(value, param, ctx))


class EnvironmentPlace(Place):
    def __init__(self) -> None:
        super().__init__(3, 3)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> EnvironmentId:
        return EnvironmentId(*super().convert(value, param, ctx))


EXAMPLES: Sequence[str] = ("", "shop", "shop/web", "shop/web/production")

project_argument = click.argument("project", type=ProjectPlace(), metavar="TENANT/PROJECT")
environment_argument = click.argument("environment", type=EnvironmentPlace(), metavar="TENANT/PROJECT/ENVIRONMENT")


def is_name(text: str) -> bool:
    return re.fullmatch(NAME, text, re.ASCII) is not None and not text.startswith(".")
