"""`burgee inspect FILE`: what is in a snapshot: sections and their sizes, what is read of a context, decision trees.

    {"tree": [{"test": "age in {< 27}", "yes": "conjunction 0", "no": "fallthrough"}]}

becomes

    card-design   object, 2 conjunctions, 2 outcomes
    └── age in {< 27}
        ├── yes: conjunction 0
        └── no: fallthrough
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from rich.tree import Tree

from server.commands.inputs import environment_option, existing_file, no_such_flag, snapshot_of
from server.commands.output import counted, fail, json_option, out, print_json


@click.command("inspect")
@click.argument("file", type=existing_file)
@click.option("--flag", "flags", multiple=True, help="Show the trees of these flags only; may be repeated.")
@environment_option
@json_option
def inspect_command(file: Path, flags: tuple[str, ...], environment: str | None, as_json: bool) -> None:
    """Show what is in FILE, a snapshot or a document."""
    snapshot = snapshot_of(file, environment, as_json=as_json)
    found = snapshot.describe()
    unknown = set(flags) - {each["key"] for each in found["flags"]}
    if unknown:
        fail(no_such_flag(snapshot, min(unknown)), as_json=as_json)
    if flags:
        found["flags"] = [each for each in found["flags"] if each["key"] in flags]
    if as_json:
        print_json(found)
        return
    console = out()
    if not flags:
        _print_summary(console, found)
    for each in found["flags"]:
        console.print(_tree_of(each))


def _print_summary(console: Console, found: dict[str, Any]) -> None:
    for name in ("environment", "flagSetId", "version", "digest"):
        console.print(f"{name:12} {found[name]}", markup=False)
    console.print(f"{'size':12} {found['size']:,} bytes, {counted(len(found['flags']), 'flag')}", markup=False)
    console.print(
        f"{'matrix':12} {found['matrixBits']} bits, {counted(found['predicates'], 'predicate')}\n", markup=False
    )
    sections = Table("section", Column("bytes", justify="right"), box=None, pad_edge=False)
    for name, size in found["sections"].items():
        if size:
            sections.add_row(name, f"{size:,}")
    console.print(sections, "")
    numbers = ("classes", "strings", "breakpoints", "ids")
    readings = Table("reads", *(Column(name, justify="right") for name in numbers), box=None, pad_edge=False)
    for each in found["readings"]:
        readings.add_row(Text(each["reading"]), *(f"{each[name]:,}" for name in numbers))
    console.print(readings, "")


def _tree_of(flag: dict[str, Any]) -> Tree:
    about = "constant" if flag["constant"] else counted(flag["conjunctions"], "conjunction")
    parts = [flag["type"], about, counted(len(flag["outcomes"]), "outcome")]
    if flag["prerequisites"]:
        parts.append(counted(flag["prerequisites"], "prerequisite"))
    if flag["clientVisible"]:
        parts.append("client-visible")
    drawing = Tree(Text.assemble((flag["key"], "bold"), "   ", ", ".join(parts)))
    nodes = flag["tree"]
    drawn: set[int] = set()
    # A branch is drawn once and then referred to: nodes are shared, and written out they may be too many.
    todo: list[tuple[Tree, str, int | str]] = [(drawing, "", 0)] if nodes else []
    while todo:
        parent, label, child = todo.pop()
        if isinstance(child, str):
            parent.add(Text(f"{label}{child}"))
        elif child in drawn:
            parent.add(Text(f"{label}as at {child}", style="dim"))
        else:
            drawn.add(child)
            node = nodes[child]
            branch = parent.add(Text.assemble(label, (f"{child}  ", "dim"), node["test"]))
            todo += [(branch, "no: ", node["no"]), (branch, "yes: ", node["yes"])]
    return drawing
