"""Negation normal form: `!` only directly above atoms, no `?:`, no unknown.

    !(country == "DE" && age < 18)     ->   !(country == "DE") || age >= 18
    !tags.all(t, t == "x")             ->   tags.exists(t, !(t == "x"))
    beta ? a : b                       ->   (beta && a) || (!beta && b)

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
from rules_compiler.passes.scope import ATOMS, Scope

_OPPOSITE: Final[dict[str, ir.Order]] = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
FLAGS_IN_QUANTIFIER: Final = 3  # each makes three of the quantifier


def push_negations(condition: ir.Expr, scope: Scope, report: Report) -> ir.Expr:
    try:
        return _Normaliser().holds(condition, True)
    except _TooLargeError:
        message = f"with its `?:` written out, the condition has more than {ATOMS:,} atoms"
        report.error("B410", scope.place, message, hint="avoid `?:` in the test of another `?:`")
    except _TooManyFlagsError:
        message = f"more than {FLAGS_IN_QUANTIFIER} different `flag(…)` tests in one `exists` or `all`"
        report.error("B412", scope.place, message, hint="test flags outside `exists` and `all`")
    return ir.Constant(False)


class _TooLargeError(Exception):
    pass


class _TooManyFlagsError(Exception):
    pass


class _Normaliser:
    def __init__(self) -> None:
        self.atoms = 0

    def holds(self, expr: ir.Expr, wanted: bool) -> ir.Expr:
        """What holds exactly when `expr` is true, or (not wanted) false."""
        if isinstance(expr, ir.And | ir.Or):
            parts = []
            for item in expr.items:
                parts.append(self.holds(item, wanted))
            return joined(ir.And if isinstance(expr, ir.And) is wanted else ir.Or, parts)
        if isinstance(expr, ir.Not):
            return self.holds(expr.item, not wanted)
        if isinstance(expr, ir.Constant):
            return ir.Constant(expr.value is wanted)
        self.atoms += 1
        if self.atoms > ATOMS:
            raise _TooLargeError
        if isinstance(expr, ir.Choice):
            chosen = joined(ir.And, (self.holds(expr.test, True), self.holds(expr.then, wanted)))
            other = joined(ir.And, (self.holds(expr.test, False), self.holds(expr.otherwise, wanted)))
            return joined(ir.Or, (chosen, other))
        if isinstance(expr, ir.Quantified):
            body = self.holds(expr.body, wanted)
            return _flags_outside(ir.Quantified(expr.kind if wanted else _other(expr.kind), expr.operand, body))
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


def _flags_outside(expr: ir.Quantified) -> ir.Expr:
    """The same without `flag(…)` in the body, where no predicate of the engine can ask it.

    exists(x, p(x) && f)  ->  exists(x, false) || (f && exists(x, p(x))) || (!f && exists(x, false))
    """
    flags = sorted(_flag_atoms(expr.body), key=lambda atom: (atom.flag, atom.variants))
    if len(flags) > FLAGS_IN_QUANTIFIER:
        raise _TooManyFlagsError
    if not flags:
        return expr
    flag = flags[0]

    def when(true: bool, false: bool) -> ir.Expr:
        body = _replaced(expr.body, flag, ir.Constant(true), ir.Constant(false))
        return _flags_outside(ir.Quantified(expr.kind, expr.operand, body))

    unknown, true, false = when(False, False), when(True, False), when(False, True)
    return joined(ir.Or, (unknown, joined(ir.And, (true, flag)), joined(ir.And, (false, ir.Not(flag)))))


def _flag_atoms(expr: ir.Expr) -> set[ir.FlagIs]:
    if isinstance(expr, ir.And | ir.Or):
        return set().union(*(_flag_atoms(item) for item in expr.items))
    if isinstance(expr, ir.Not):
        return _flag_atoms(expr.item)
    if isinstance(expr, ir.Quantified):
        return _flag_atoms(expr.body)
    return {expr} if isinstance(expr, ir.FlagIs) else set()


def _replaced(expr: ir.Expr, atom: ir.FlagIs, positive: ir.Expr, negative: ir.Expr) -> ir.Expr:
    """`expr`, in negation normal form, with other things for `atom` and for `!atom`."""
    if isinstance(expr, ir.And | ir.Or):
        return joined(type(expr), [_replaced(item, atom, positive, negative) for item in expr.items])
    if isinstance(expr, ir.Quantified):
        return ir.Quantified(expr.kind, expr.operand, _replaced(expr.body, atom, positive, negative))
    if isinstance(expr, ir.Not):
        return negative if expr.item == atom else expr
    return positive if expr == atom else expr
