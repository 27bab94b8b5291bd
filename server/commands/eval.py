"""`burgee eval FILE FLAG`: what a context gets, from a document or a snapshot, exactly as the server would answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Column, Table

from engine import error_code_of
from server.commands.inputs import (
    context_option,
    context_text,
    environment_option,
    existing_file,
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
    body = b'{"context":' + context_text(context) + b"}"
    reply = snapshot.evaluate_json(body, flag, client=client, now=now)
    answer = msgspec.json.decode(reply)
    failed = error_code_of(reply) is not None
    if as_json:
        print_json(answer)
    elif failed:
        fail(f"{answer['errorCode']}: {answer.get('errorDetails', '')}", as_json=False)
    else:
        _print([answer] if flag is not None else answer["flags"])
    raise SystemExit(1 if failed else 0)


def _print(answers: list[dict[str, Any]]) -> None:
    table = Table("flag", Column("value", overflow="fold"), "variant", "reason", box=None, pad_edge=False)
    for each in answers:
        value = msgspec.json.encode(each["value"]).decode() if "value" in each else "(the caller's own default)"
        if "errorCode" in each:
            table.add_row(each["key"], "", "", each["errorCode"], style="red")
        else:
            table.add_row(each["key"], value, each.get("variant", ""), each["reason"])
    out().print(table, markup=False)
