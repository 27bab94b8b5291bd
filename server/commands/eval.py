"""`burgee eval FILE FLAG`: what a context gets, from a document or a snapshot, exactly as the server would answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Column, Table

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


@click.command("eval")
@click.argument("file", type=existing_file)
@click.argument("flag", required=False)
@context_option
@click.option("--all", "every", is_flag=True, help="Evaluate every flag.")
@click.option("--client", is_flag=True, help="See what a client key sees.")
@now_option
@environment_option
@json_option
def eval_command(
    file: Path,
    flag: str | None,
    context: str,
    every: bool,
    client: bool,
    now: int | None,
    environment: str | None,
    as_json: bool,
) -> None:
    """Evaluate FLAG (or --all) of FILE, a document or a snapshot."""
    if (flag is None) != every:
        raise click.UsageError("give either a FLAG or --all")
    snapshot = snapshot_of(file, environment, as_json=as_json)
    answer = ask(snapshot, context_text(context), flag, client=client, now=now)
    code = answer.get("errorCode")
    if as_json:
        print_json(answer)
    elif code is not None:
        unknown = flag is not None and flag not in snapshot
        details = no_such_flag(snapshot, flag or "") if unknown else answer.get("errorDetails", "")
        fail(f"{code}: {details}", as_json=False)
    else:
        _print([answer] if flag is not None else answer["flags"])
    raise SystemExit(0 if code is None else 1)


def _print(answers: list[dict[str, Any]]) -> None:
    table = Table("flag", Column("value", overflow="fold"), "variant", "reason", box=None, pad_edge=False)
    for each in answers:
        value = msgspec.json.encode(each["value"]).decode() if "value" in each else "(the caller's own default)"
        if "errorCode" in each:
            table.add_row(each["key"], "", "", each["errorCode"], style="red")
        else:
            table.add_row(each["key"], value, each.get("variant", ""), each["reason"])
    out().print(table, markup=False)
