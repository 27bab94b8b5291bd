"""What commands read: documents, snapshots (a document is compiled first), contexts, moments.

    @context.json        -        {"country": "DE"}

are three ways to give a context: from a file, from stdin, as it stands.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import click

from engine import Snapshot, SnapshotError
from rules_compiler import CompileError, compile_flags
from server.commands.output import fail, print_diagnostics, print_json

MAGIC = b"BURGEE\r\n"  # engine/core/format.h

existing_file = click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=False)
environment_option = click.option(
    "--environment", "-e", help="Environment of a document; may be left out when it has one."
)
context_option = click.option(
    "--context", "-c", default="{}", show_default=True, help="The context: JSON, @FILE, or - for stdin."
)


def moment(text: str) -> int:
    """A click type: milliseconds since the epoch, from themselves or from an RFC 3339 time."""
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise click.BadParameter("give milliseconds since the epoch, or a time with its zone: 2026-11-22T14:00:00Z")
    return int(found.timestamp() * 1000)


now_option = click.option("--now", type=moment, help="Evaluate as at this moment: milliseconds or RFC 3339.")


def snapshot_of(path: Path, environment: str | None, *, as_json: bool) -> Snapshot:
    """The snapshot in the file, or of the document in it; a bad one ends the command with code 1."""
    content = path.read_bytes()
    try:
        if content.startswith(MAGIC):
            return Snapshot.from_bytes(content)
        return Snapshot.from_bytes(compile_flags(content, environment=environment))
    except CompileError as error:
        refuse_document(path, error, as_json=as_json)
    except SnapshotError as error:
        fail(f"{path}: {error}", as_json=as_json)


def refuse_document(path: Path, error: CompileError, *, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"ok": False, "diagnostics": error.diagnostics})
    else:
        print_diagnostics(str(path), error.diagnostics)
    raise SystemExit(1)


def context_text(given: str) -> bytes:
    """The JSON text that --context stands for."""
    if given == "-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given.encode(errors="surrogateescape")
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"`{given[1:]}`: {(error.strerror or 'cannot be read').lower()}") from None
