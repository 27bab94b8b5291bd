"""`burgee explain FILE FLAG`: every rule, condition and operand, and the value it saw: why, and why not."""

from __future__ import annotations

import json
from pathlib import Path

import click

from server.commands.inputs import (
    ask,
    context_option,
    context_text,
    environment_option,
    existing_file,
    no_such_flag,
    now_option,
    snapshot_of,
)
from server.commands.output import fail, json_option, out, print_json


@click.command("explain")
@click.argument("file", type=existing_file)
@click.argument("flag")
@context_option
@now_option
@environment_option
@json_option
def explain_command(
    file: Path, flag: str, context: str, now: int | None, environment: str | None, as_json: bool
) -> None:
    """Explain what FLAG of FILE, a document or a snapshot, gives a context."""
    snapshot = snapshot_of(file, environment, as_json=as_json)
    if flag not in snapshot:
        fail(no_such_flag(snapshot, flag), as_json=as_json)
    text = context_text(context)
    # The engine's reader is the strict one; what it accepts, json reads the same.
    answer = ask(snapshot, text, flag, now=now)
    if answer.get("errorCode") in ("PARSE_ERROR", "INVALID_CONTEXT"):
        fail(f"the context: {answer['errorDetails']}", as_json=as_json)
    explanation = snapshot.explain(flag, json.loads(text), now=now)
    if as_json:
        print_json(explanation.to_dict())
    else:
        out().print(explanation.render(), markup=False, end="")
