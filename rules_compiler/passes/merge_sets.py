"""One literal for what several say about one attribute.

    country == "DE" || country == "FR"                       ->   country in ["DE", "FR"]
    country in ["DE", "FR"] && country != "FR"               ->   country in ["DE"]
    age > 18 && age > 21                                     ->   age > 21
    country == "DE" && country == "FR"                       ->   false
    tags.exists(t, t == "a") || tags.exists(t, t == "b")     ->   "a" in tags || "b" in tags, one test

Conditions come in negation normal form, where only holding counts: `country == "DE" && country == 1` is never true, and
may become false.
"""

from __future__ import annotations

from rules_compiler import ir
from rules_compiler.diagnostics import Report
from rules_compiler.passes.fold_constants import joined
from rules_compiler.passes.literals import Accepted, merge_all, merge_any
from rules_compiler.passes.scope import Scope

_ELEMENT = ir.Operand((), scope=1)


def merge_sets(condition: ir.Expr, scope: Scope, report: Report) -> ir.Expr:
    return _merged(condition, 0)


def literal_of(expr: ir.Expr) -> ir.Literal:
    return ir.Literal(expr.item, False) if isinstance(expr, ir.Not) else ir.Literal(expr)


def _merged(expr: ir.Expr, quantifiers: int) -> ir.Expr:
    if isinstance(expr, ir.And | ir.Or):
        items = []
        for item in expr.items:
            items.append(_merged(item, quantifiers))
        whole = joined(type(expr), items)
        if not isinstance(whole, ir.And | ir.Or):
            return whole
        literals, trees = [], []
        for item in whole.items:
            if isinstance(item, ir.And | ir.Or | ir.Constant):
                trees.append(item)
            else:
                literals.append(Accepted(literal_of(item)))
        merged = merge_all(literals) if isinstance(whole, ir.And) else merge_any(literals)
        if merged is None:
            return ir.Constant(False)
        return joined(type(whole), [*map(_expr_of, merged), *trees])
    if isinstance(expr, ir.Quantified):
        body = _merged(expr.body, quantifiers + 1)
        if expr.kind == "exists":
            if body == ir.Constant(False):
                return body
            if quantifiers == 0 and isinstance(body, ir.In) and body.operand == _ELEMENT:
                return ir.Contains(expr.operand, body.values)
        return ir.Quantified(expr.kind, expr.operand, body)
    return expr


def _expr_of(accepted: Accepted) -> ir.Expr:
    atom = accepted.literal.atom
    return atom if accepted.positive else ir.Not(atom)
