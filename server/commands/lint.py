"""`burgee lint DOC`: everything the compiler has to say about a document."""

from __future__ import annotations

from pathlib import Path

import click

from rules_compiler import lint
from server.commands.inputs import document_in, existing_file
from server.commands.output import err, json_option, print_diagnostics, print_json


@click.command("lint")
@click.argument("document", type=existing_file)
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@json_option
def lint_command(document: Path, strict: bool, as_json: bool) -> None:
    """Say what is wrong, or odd, in DOCUMENT."""
    diagnostics = lint(document_in(document, as_json=as_json))
    severities = {each.severity for each in diagnostics}
    ok = "error" not in severities and not (strict and "warning" in severities)
    if as_json:
        print_json({"ok": ok, "diagnostics": diagnostics})
    elif diagnostics:
        print_diagnostics(str(document), diagnostics)
    else:
        err().print(f"{document}: nothing to say", markup=False, style="green")
    raise SystemExit(0 if ok else 1)
