"""How a difference is printed: a line for each flag and segment, and one for each member that changed.

+ new-checkout
~ basket
    rules[0].when: "beta" -> "beta && adult"
- segment staff
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from rules_compiler.diagnostics import shown
from server.commands.output import counted, out
from server.control.publishing.diff import Change, MemberChange

SIGNS = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red")}
WIDTH = 60  # characters of a value
MANY = 10  # of a project that is new, all is: then they are counted


def print_changes(changes: Sequence[Change]) -> None:
    console = out()
    if len(changes) > MANY and all(each.what == "added" for each in changes):
        flags = sum(each.kind == "flag" for each in changes)
        counts = (counted(flags, "flag"), counted(len(changes) - flags, "segment"))
        console.print(f"  + {', '.join(counts)}", markup=False, style="green")
        return
    for each in changes:
        sign, color = SIGNS[each.what]
        kind = "" if each.kind == "flag" else f"{each.kind} "
        console.print(f"  {sign} {kind}{each.key}", markup=False, style=color)
        for member in each.members:
            console.print(f"      {_line(member)}", markup=False)


def _line(member: MemberChange) -> str:
    if member.added is not UNSET or member.removed is not UNSET:
        return f"{member.place}: {member.added or 0} added, {member.removed or 0} removed"
    if member.before is UNSET and member.after is UNSET:
        return f"{member.place}: changed"
    return f"{member.place}: {_value(member.before)} -> {_value(member.after)}"


def _value(value: Any) -> str:
    if value is UNSET:
        return "nothing"
    return shown(msgspec.json.encode(value).decode(), WIDTH).strip("`")


def print_impact(impact: Mapping[str, Any] | None) -> None:
    """Which flags flip for how many of the contexts that were looked at."""
    for each in impact["flags"] if impact else ():
        share = f"{each['share']:.1%} of {impact['contexts']:,} contexts" if impact else ""
        out().print(f"  {each['flag']} flips for {share}", markup=False, style="yellow")
