"""Write the condition of each segment where the segment is named.

    segment("staff") && country == "DE"          with   staff: email.endsWith("@example.com")

becomes

    email.endsWith("@example.com") && country == "DE"

A segment inside a quantifier brings its own quantifiers one scope further in.
"""

from __future__ import annotations

from typing import NamedTuple

from rules_compiler import ir
from rules_compiler.diagnostics import Report
from rules_compiler.passes.quantifiers import shifted
from rules_compiler.passes.scope import ATOMS, DEPTH, Scope


class References(NamedTuple):
    segments: frozenset[str]
    flags: frozenset[str]


def references(*conditions: ir.Expr) -> References:
    """The segments and flags that conditions name."""
    segments: set[str] = set()
    flags: set[str] = set()
    todo = list(conditions)
    while todo:
        expr = todo.pop()
        if isinstance(expr, ir.And | ir.Or):
            todo.extend(expr.items)
        elif isinstance(expr, ir.Not):
            todo.append(expr.item)
        elif isinstance(expr, ir.Choice):
            todo += (expr.test, expr.then, expr.otherwise)
        elif isinstance(expr, ir.Quantified):
            todo.append(expr.body)
        elif isinstance(expr, ir.SegmentIs):
            segments.add(expr.segment)
        elif isinstance(expr, ir.FlagIs):
            flags.add(expr.flag)
    return References(frozenset(segments), frozenset(flags))


def measure(expr: ir.Expr) -> tuple[int, int]:
    """How many atoms, and how deep."""
    if isinstance(expr, ir.And | ir.Or):
        parts: tuple[ir.Expr, ...] = expr.items
    elif isinstance(expr, ir.Not):
        parts = (expr.item,)
    elif isinstance(expr, ir.Choice):
        parts = (expr.test, expr.then, expr.otherwise)
    elif isinstance(expr, ir.Quantified):
        parts = (expr.body,)
    else:
        return 1, 1
    atoms = depth = 0
    for part in parts:
        more, deeper = measure(part)
        atoms, depth = atoms + more, max(depth, deeper)
    return atoms, depth + 1


def inline_segments(condition: ir.Expr, scope: Scope, report: Report) -> ir.Expr:
    if not references(condition).segments:
        return condition
    inliner = _Inliner(scope)
    inlined = inliner.inline(condition, 1, 0)
    if inliner.atoms > ATOMS:
        message = f"with its segments written in, the condition has {inliner.atoms:,} atoms, more than {ATOMS:,}"
        report.error("B410", scope.place, message, hint="move long lists into the `include` of a segment")
    elif inliner.depth > DEPTH:
        message = f"with its segments written in, the condition is {inliner.depth} levels deep, more than {DEPTH}"
        report.error("B411", scope.place, message, hint="name fewer segments inside each other")
    else:
        return inlined
    return ir.Constant(None)


class _Inliner:
    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.atoms = 0
        self.depth = 0

    def inline(self, expr: ir.Expr, depth: int, quantifiers: int) -> ir.Expr:
        """`depth` and `quantifiers`: how many of them are around `expr`, itself included in the first."""
        if isinstance(expr, ir.And | ir.Or):
            items = []
            for item in expr.items:  # no comprehension: its frame would halve the depth that Python can go
                items.append(self.inline(item, depth + 1, quantifiers))
            return type(expr)(tuple(items))
        if isinstance(expr, ir.Not):
            return ir.Not(self.inline(expr.item, depth + 1, quantifiers))
        if isinstance(expr, ir.Choice):
            return ir.Choice(
                self.inline(expr.test, depth + 1, quantifiers),
                self.inline(expr.then, depth + 1, quantifiers),
                self.inline(expr.otherwise, depth + 1, quantifiers),
            )
        if isinstance(expr, ir.Quantified):
            return ir.Quantified(expr.kind, expr.operand, self.inline(expr.body, depth + 1, quantifiers + 1))
        if not isinstance(expr, ir.SegmentIs):
            self.atoms += 1
            self.depth = max(self.depth, depth)
            return expr
        segment = self.scope.segments[expr.segment]
        self.atoms += segment.atoms
        self.depth = max(self.depth, depth + segment.depth - 1)
        return shifted(segment.when, 0, quantifiers) if quantifiers else segment.when
