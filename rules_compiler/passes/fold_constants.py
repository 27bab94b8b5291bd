"""Simplify what does not depend on the context, and flatten.

    true && (a && (b && a)) && !!c        ->   a && b && c
    unknown ? a : b                       ->   unknown
    t ? false : true                      ->   !t

Exact in three-valued logic: `x || !x` stays, because it is unknown when `x` is; so does `x && unknown`, which is false
when `x` is.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rules_compiler import ir
from rules_compiler.diagnostics import Report
from rules_compiler.passes.scope import Scope


def fold_constants(condition: ir.Expr, scope: Scope, report: Report) -> ir.Expr:
    return folded(condition)


def folded(expr: ir.Expr) -> ir.Expr:
    if isinstance(expr, ir.And | ir.Or):
        items = []
        for item in expr.items:  # no comprehension: its frame would halve the depth that Python can go
            items.append(folded(item))
        return joined(type(expr), items)
    if isinstance(expr, ir.Not):
        item = folded(expr.item)
        if isinstance(item, ir.Constant):
            return ir.Constant(None if item.value is None else not item.value)
        return item.item if isinstance(item, ir.Not) else ir.Not(item)
    if isinstance(expr, ir.Choice):
        test, then, otherwise = folded(expr.test), folded(expr.then), folded(expr.otherwise)
        if isinstance(test, ir.Constant):
            return test if test.value is None else then if test.value else otherwise
        if isinstance(then, ir.Constant) and isinstance(otherwise, ir.Constant):
            if (then.value, otherwise.value) == (True, False):
                return test
            if (then.value, otherwise.value) == (False, True):
                return folded(ir.Not(test))
        return ir.Choice(test, then, otherwise)
    if isinstance(expr, ir.Quantified):
        return ir.Quantified(expr.kind, expr.operand, folded(expr.body))
    return expr


def joined(kind: type[ir.And] | type[ir.Or], items: Iterable[ir.Expr]) -> ir.Expr:
    """And, or Or, of folded items: flat, without constants that decide nothing, each item once."""
    decisive = kind is ir.Or
    kept: dict[bytes, ir.Expr] = {}
    for item in items:
        for part in item.items if isinstance(item, kind) else (item,):
            if isinstance(part, ir.Constant):
                if part.value is decisive:
                    return part
                if part.value is not None:
                    continue
            kept.setdefault(same(part), part)
    if not kept:
        return ir.Constant(not decisive)
    parts = tuple(kept.values())
    return parts[0] if len(parts) == 1 else kind(parts)


same = msgspec.json.Encoder().encode
"""Equal for equal trees only. Python's equality will not do: `In(a, (True,)) == In(a, (1,))`."""
