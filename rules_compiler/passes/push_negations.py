"""Negation normal form: `!` only directly above atoms, no `?:`, no unknown.

    !(country == "DE" && age < 18)     ->   !(country == "DE") || age >= 18
    !tags.all(t, t == "x")             ->   tags.exists(t, !(t == "x"))
    beta ? a : b                       ->   (beta && a) || (!beta && b)
    tags.exists(t, t == "x" && flag("f"))  ->   flag("f") && tags.exists(t, t == "x")

From here on only *holding* counts: an atom holds when it is true, `!atom` when the atom is false, and neither when it
is unknown. And, or, exists and all pass holding on unchanged, and a rule matches only when its condition holds: unknown
has become false.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from rules_compiler import ir
from rules_compiler.diagnostics import Report
from rules_compiler.passes.fold_constants import joined
from rules_compiler.passes.inline_segments import measure
from rules_compiler.passes.quantifiers import MOVED, TooManyMovedError, quantified
from rules_compiler.passes.scope import ATOMS, Scope

_OPPOSITE: Final[dict[str, ir.Order]] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def push_negations(condition: ir.Expr, scope: Scope, report: Report) -> ir.Expr:
    try:
        return _Normaliser().holds(condition, True)
    except _TooLargeError:
        message = f"with `?:` and quantifiers written out, the condition has more than {ATOMS:,} atoms"
        report.error(
            "B410", scope.place, message, hint="avoid `?:` in the test of another, and segments in quantifiers"
        )
    except TooManyMovedError:
        message = f"more than {MOVED} flags, or segments with quantifiers, are asked in one `exists` or `all`"
        report.error("B412", scope.place, message, hint="test flags and segments outside `exists` and `all`")
    return ir.Constant(False)


class _TooLargeError(Exception):
    pass


class _Normaliser:
    def __init__(self) -> None:
        self.atoms = 0

    def count(self, atoms: int) -> None:
        self.atoms += atoms
        if self.atoms > ATOMS:
            raise _TooLargeError

    def holds(self, expr: ir.Expr, wanted: bool, quantifiers: int = 0) -> ir.Expr:
        """What holds exactly when `expr`, inside so many quantifiers, is true, or (not wanted) false."""
        if isinstance(expr, ir.And | ir.Or):
            parts = []
            for item in expr.items:
                parts.append(self.holds(item, wanted, quantifiers))
            return joined(ir.And if isinstance(expr, ir.And) is wanted else ir.Or, parts)
        if isinstance(expr, ir.Not):
            return self.holds(expr.item, not wanted, quantifiers)
        if isinstance(expr, ir.Constant):
            return ir.Constant(expr.value is wanted)
        self.count(1)
        if isinstance(expr, ir.Choice):
            chosen = (self.holds(expr.test, True, quantifiers), self.holds(expr.then, wanted, quantifiers))
            other = (self.holds(expr.test, False, quantifiers), self.holds(expr.otherwise, wanted, quantifiers))
            return joined(ir.Or, (joined(ir.And, chosen), joined(ir.And, other)))
        if isinstance(expr, ir.Quantified):
            body = self.holds(expr.body, wanted, quantifiers + 1)
            moved = quantified(expr.kind if wanted else _other(expr.kind), expr.operand, body, quantifiers + 1)
            if not isinstance(moved, ir.Quantified):
                self.count(measure(moved)[0])
            return moved
        if wanted:
            return expr
        # Atoms whose falsehood another atom says, for exactly the same values.
        if isinstance(expr, ir.Compare | ir.CompareOperands) and expr.op in _OPPOSITE:
            return msgspec.structs.replace(expr, op=_OPPOSITE[expr.op])
        if isinstance(expr, ir.In) and type(expr.values[0]) is bool:
            rest = tuple(value for value in (False, True) if value not in expr.values)
            return ir.In(expr.operand, rest) if rest else ir.Constant(False)
        return ir.Not(expr)


def _other(kind: Literal["exists", "all"]) -> Literal["exists", "all"]:
    return "all" if kind == "exists" else "exists"
