"""What commands read: documents, snapshots (a document is compiled first), contexts, moments.

    @context.json        -        {"country": "DE"}

are three ways to give a context: from a file, from stdin, as it stands.
"""

from __future__ import annotations

import re
import sys
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from engine import Snapshot, SnapshotError
from rules_compiler import CompileError, compile_flags
from server.commands.output import fail, print_diagnostics, print_json

MAGIC = b"BURGEE\r\n"  # engine/core/format.h
LATEST = 253_402_300_799_999  # milliseconds: the last of the year 9999, the last that a condition can compare
BODY_START = b'{"context":'

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
        # Its length first: a longer one is out of range, and very long ones are no integers to Python.
        if len(text) > len(str(LATEST)) or int(text) > LATEST:
            raise click.BadParameter("milliseconds since the epoch go to the end of the year 9999")
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise click.BadParameter("give milliseconds since the epoch, or a time with its zone: 2026-11-22T14:00:00Z")
    return int(found.timestamp() * 1000)


now_option = click.option("--now", type=moment, help="Evaluate as at this moment: milliseconds or RFC 3339.")


def read(path: Path, *, as_json: bool) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"{path}: {(error.strerror or 'cannot be read').lower()}", as_json=as_json)


def document_in(path: Path, *, as_json: bool) -> bytes:
    """The document in the file, whatever is wrong with it, but no snapshot."""
    content = read(path, as_json=as_json)
    if content.startswith(MAGIC):
        fail(
            f"{path}: a snapshot, where a document is wanted (hint: `burgee inspect` shows what is in it)",
            as_json=as_json,
        )
    return content


def snapshot_of(path: Path, environment: str | None, *, as_json: bool) -> Snapshot:
    """The snapshot in the file, or of the document in it; a bad one ends the command with code 1."""
    content = read(path, as_json=as_json)
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
        why = (error.strerror or "cannot be read").lower()
        raise click.BadParameter(f"`{given[1:]}`: {why}", param_hint="'--context'") from None


def ask(
    snapshot: Snapshot, context: bytes, flag: str | None, *, client: bool = False, now: int | None = None
) -> dict[str, Any]:
    """The answer to a context, as the server would give it; positions count from the start of the context."""
    reply = snapshot.evaluate_json(BODY_START + context + b"}", flag, client=client, now=now)
    answer: dict[str, Any] = msgspec.json.decode(reply)
    if answer.get("errorCode") in ("PARSE_ERROR", "INVALID_CONTEXT"):
        answer["errorDetails"] = re.sub(
            r"at byte (\d+)",
            lambda found: f"at byte {max(int(found[1]) - len(BODY_START), 0)}",
            answer.get("errorDetails", ""),
        )
    elif not _is_one_value(context):
        of_flag = {} if flag is None else {"key": flag}
        return {**of_flag, "errorCode": "PARSE_ERROR", "errorDetails": "something follows the context"}
    return answer


def _is_one_value(text: bytes) -> bool:
    """Whether it is JSON by itself: `{}, "more": {}` is good in the middle of a body, too."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


def no_such_flag(snapshot: Snapshot, flag: str) -> str:
    near = get_close_matches(flag, snapshot.flag_keys, n=1)
    hint = f" (hint: did you mean `{near[0]}`?)" if near else ""
    return f"there is no flag `{flag}` in environment `{snapshot.environment}`{hint}"
