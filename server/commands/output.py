"""How commands speak: results on stdout, all else on stderr; with --json, one JSON value on stdout and nothing else."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any, NoReturn, TextIO

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rules_compiler import Diagnostic
from server.diagnostics import line_of, summary_of

PIPED_WIDTH = 1000  # characters
COLORS = {"error": "red", "warning": "yellow", "info": "cyan"}

_FRACTION = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+Z$")  # of a second, of a moment: for nobody to read

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON value, and nothing else.")


def out() -> Console:
    return _console(sys.stdout)


def err() -> Console:
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    # Made anew: a console keeps the stream it was made with, and tests give each call its own. What is piped is not cut
    # to the width of a terminal that is not there.
    return Console(file=stream, highlight=False, soft_wrap=True, width=None if stream.isatty() else PIPED_WIDTH)


def print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def counted(number: int, thing: str) -> str:
    """`1 flag`, `2 flags`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def print_diagnostics(document: str, diagnostics: Iterable[Diagnostic]) -> None:
    """A line each and a count, on stderr: `shop.yaml:31: flags.checkout.rules[0].serve: error[B301]: …`."""
    found, console = list(diagnostics), err()
    for each in found:
        # As compilers write it, so that editors can jump there.
        where = document if each.document_line is None else f"{document}:{each.document_line}"
        place, _, rest = line_of(msgspec.structs.replace(each, document_line=None)).partition(f" {each.severity}[")
        console.print(f"{where}: {place}" if each.place else f"{where}:", end=" ", markup=False, style="bold")
        console.print(f"{each.severity}[{rest}", markup=False, style=COLORS[each.severity])
    if found:
        console.print(f"{document}: {summary_of(found)}", markup=False)


def fail(message: str, *, as_json: bool, code: int = 1) -> NoReturn:
    if as_json:
        print_json({"ok": False, "error": message})
    else:
        err().print(f"error: {message}", markup=False, style="red")
    raise SystemExit(code)


def print_table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """On stdout; nothing in a cell means anything to rich."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(_cell(each)) for each in row))
    out().print(table)


def _cell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return _FRACTION.sub(r"\1Z", str(value))
