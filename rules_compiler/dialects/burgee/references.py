"""Flags and segments that wait for one another: cycles are refused, and so are very long chains.

    a -> segment s -> flag b -> a      one cycle, said once

Whoever reads the IR may follow references without looking back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rules_compiler import limits
from rules_compiler.diagnostics import Report


class Reference(NamedTuple):
    """A flag or a segment. The order of kinds and keys is the order in which cycles are looked for."""

    kind: str  # flag or segment
    key: str

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


References = Mapping[Reference, Mapping[Reference, str]]  # what each names -> the place where it does


def check_references(references: References, report: Report) -> None:
    """One diagnostic for each cycle found, none for a second cycle through the same names. Segments come first."""
    in_cycle: set[Reference] = set()
    flags_deep: dict[Reference, int] = {}  # the longest chain that begins here, in flags
    segments_deep: dict[Reference, int] = {}
    on_path: dict[Reference, None] = {}
    done: set[Reference] = set()
    for start in references:
        if start in done or (start.kind == "flag" and not _waits(references[start], flags_deep)):
            continue
        stack: list[tuple[Reference, Iterator[Reference]]] = [(start, iter(references[start]))]
        on_path[start] = None
        while stack:
            name, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                stack.pop()
                on_path.pop(name)
                done.add(name)
                _measure(name, references, flags_deep, segments_deep, report)
            elif following in on_path:
                path = list(on_path)
                cycle = path[path.index(following) :]
                if in_cycle.isdisjoint(cycle):
                    _report_cycle(cycle, references, report)
                in_cycle.update(cycle)
            elif following not in done:
                stack.append((following, iter(references.get(following, {}))))
                on_path[following] = None


def _waits(named: Mapping[Reference, str], flags_deep: Mapping[Reference, int]) -> bool:
    """Most flags name a few segments, measured before, that name no flags: there is nothing to follow."""
    return any(each.kind == "flag" or flags_deep.get(each) for each in named)


def _report_cycle(cycle: list[Reference], references: References, report: Report) -> None:
    text = " -> ".join(f"`{each}`" for each in (*cycle, cycle[0]))
    place = references[cycle[-1]][cycle[0]]
    if all(each.kind == "segment" for each in cycle):
        report.error("B304", place, f"segments in a cycle: {text}", hint="let one of them stand alone")
    else:
        report.error("B305", place, f"flags that wait for one another: {text}", hint="let one of them stand alone")


def _measure(
    name: Reference,
    references: References,
    flags_deep: dict[Reference, int],
    segments_deep: dict[Reference, int],
    report: Report,
) -> None:
    """Called when all that `name` refers to is measured, unless it is in a cycle."""
    named = references.get(name, {})
    is_flag = name.kind == "flag"
    flags_deep[name] = is_flag + max((flags_deep.get(each, each.kind == "flag") for each in named), default=0)
    if is_flag:
        if flags_deep[name] == limits.PREREQUISITE_CHAIN + 1:
            message = f"more than {limits.PREREQUISITE_CHAIN} flags wait for one another"
            report.error("B515", f"flags.{name.key}", message, hint="let fewer flags depend on others")
        return
    segments_deep[name] = 1 + max((segments_deep.get(each, 0) for each in named if each.kind == "segment"), default=0)
    if segments_deep[name] == limits.SEGMENT_NESTING + 1:
        message = f"segments name one another more than {limits.SEGMENT_NESTING} deep"
        report.error("B514", f"segments.{name.key}", message, hint="write some of the conditions out")
