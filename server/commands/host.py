"""`burgee hold` and `burgee release`: this host stays at what it serves, whatever is published, until it is released.

burgee hold --state /var/lib/burgee      a file `hold` in the state folder: it works with everything else dead
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from server.commands.output import fail, json_option, print_json
from server.settings import Settings, options
from server.state.origin import HOLD

_NAMES = ("tenants", "upstream", "state")  # those that say which folder it is


def _hold(*, as_json: bool, **given: Any) -> None:
    folder = _folder(as_json=as_json, **given)
    (folder / HOLD).touch()
    _say(f"`{folder}` is held: nothing is installed until `burgee release`", held=True, as_json=as_json)


def _release(*, as_json: bool, **given: Any) -> None:
    folder = _folder(as_json=as_json, **given)
    (folder / HOLD).unlink(missing_ok=True)
    _say(f"`{folder}` is released", held=False, as_json=as_json)


def _folder(*, as_json: bool, **given: Any) -> Path:
    folder = Settings(**given).state_folder()
    if not folder.is_dir():
        fail(f"there is no state folder `{folder}` (hint: `--state` names it)", as_json=as_json)
    return folder


def _say(text: str, *, held: bool, as_json: bool) -> None:
    if as_json:
        print_json({"held": held})
    else:
        click.echo(text)


hold_command = click.Command(
    "hold",
    callback=_hold,
    params=[*options(_NAMES)],
    help="Let this host install nothing that is published from now on.",
)
release_command = click.Command(
    "release", callback=_release, params=[*options(_NAMES)], help="Let a host that was held install what is published."
)
for _each in (hold_command, release_command):
    json_option(_each)
