"""Bring out of `exists` and `all` what does not look at the element, where it must not stay.

    tags.exists(t, t == "x" && flag("gate"))      ->   flag("gate") && tags.exists(t, t == "x")
    tags.all(t, t == "x" || segment("old"))       ->   (old && tags.all(t, true)) || tags.all(t, t == "x")

What must not stay: `flag(…)`, which the engine asks by itself; quantifiers (of segments) over something else, which
would nest deeper than it looks; and `in` lists of something else, which need not be looked into for each element.
Bodies come in negation normal form, where only holding counts; so, for any literal L,

    q(L)   =   q(false) || (L && q(true))
"""

from __future__ import annotations

from typing import Literal

import msgspec

from rules_compiler import ir
from rules_compiler.passes.fold_constants import joined, same

MOVED = 4  # different literals moved out of one quantifier by the last rule: each may double it


class TooManyMovedError(Exception):
    pass


def quantified(kind: Literal["exists", "all"], operand: ir.Operand, body: ir.Expr, scope: int) -> ir.Expr:
    """`scope` is that of the element. Raises TooManyMovedError."""
    movable = _movable(body, scope)
    if not movable:
        return ir.Quantified(kind, operand, body)
    # exists(p || q) = exists(p) || exists(q); all(p && q) = all(p) && all(q)
    # exists(L && p) = L && exists(p);         all(L || p) = L && all(true) || all(p)
    splits, other = (ir.Or, ir.And) if kind == "exists" else (ir.And, ir.Or)
    if isinstance(body, splits):
        staying = [item for item in body.items if not _movable(item, scope)]
        parts = [quantified(kind, operand, item, scope) for item in body.items if _movable(item, scope)]
        return joined(splits, [*parts, *([ir.Quantified(kind, operand, joined(splits, staying))] if staying else [])])
    items = body.items if isinstance(body, other) else (body,)
    moving = [item for item in items if not mentions(item, scope) and _movable(item, scope)]
    if moving:
        staying = [item for item in items if mentions(item, scope) or not _movable(item, scope)]
        out = joined(other, [shifted(item, scope, -1) for item in moving])
        if kind == "exists":
            return joined(ir.And, (out, quantified(kind, operand, joined(ir.And, staying), scope)))
        listed = ir.Quantified(kind, operand, ir.Constant(True))
        rest = quantified(kind, operand, joined(ir.Or, staying), scope)
        return joined(ir.Or, (joined(ir.And, (out, listed)), rest))
    if len(movable) > MOVED:
        raise TooManyMovedError
    first = min(movable)
    without = quantified(kind, operand, replaced(body, first, ir.Constant(False)), scope)
    given = quantified(kind, operand, replaced(body, first, ir.Constant(True)), scope)
    return joined(ir.Or, (without, joined(ir.And, (shifted(movable[first], scope, -1), given))))


def mentions(expr: ir.Expr, scope: int) -> bool:
    """Whether it looks at the element of that scope."""
    if isinstance(expr, ir.And | ir.Or):
        return any(mentions(item, scope) for item in expr.items)
    if isinstance(expr, ir.Not):
        return mentions(expr.item, scope)
    if isinstance(expr, ir.Quantified):
        return expr.operand.scope == scope or mentions(expr.body, scope)
    if isinstance(expr, ir.CompareOperands):
        return scope in (expr.left.scope, expr.right.scope)
    if isinstance(expr, ir.Constant | ir.Choice | ir.FlagIs | ir.SegmentIs | ir.Named):
        return False
    return expr.operand.scope == scope


def shifted(expr: ir.Expr, above: int, by: int) -> ir.Expr:
    """With elements of scopes beyond `above` at other scopes: a condition moves into, or out of, quantifiers."""
    if isinstance(expr, ir.And | ir.Or):
        return type(expr)(tuple([shifted(item, above, by) for item in expr.items]))
    if isinstance(expr, ir.Not):
        return ir.Not(shifted(expr.item, above, by))
    if isinstance(expr, ir.Choice):
        parts = (expr.test, expr.then, expr.otherwise)
        return ir.Choice(*[shifted(part, above, by) for part in parts])
    if isinstance(expr, ir.Quantified):
        return ir.Quantified(expr.kind, _operand(expr.operand, above, by), shifted(expr.body, above, by))
    if isinstance(expr, ir.CompareOperands):
        left, right = _operand(expr.left, above, by), _operand(expr.right, above, by)
        return msgspec.structs.replace(expr, left=left, right=right)
    if isinstance(expr, ir.Constant | ir.FlagIs | ir.SegmentIs | ir.Named):
        return expr
    return msgspec.structs.replace(expr, operand=_operand(expr.operand, above, by))


def _operand(operand: ir.Operand, above: int, by: int) -> ir.Operand:
    return msgspec.structs.replace(operand, scope=operand.scope + by) if operand.scope > above else operand


def _movable(expr: ir.Expr, scope: int) -> dict[bytes, ir.Expr]:
    """The literals that must not stay inside a quantifier whose element has this scope."""
    if isinstance(expr, ir.And | ir.Or):
        found: dict[bytes, ir.Expr] = {}
        for item in expr.items:
            found |= _movable(item, scope)
        return found
    atom = expr.item if isinstance(expr, ir.Not) else expr
    looks = isinstance(atom, ir.Quantified | ir.Contains)
    moves = isinstance(atom, ir.FlagIs) or (looks and not mentions(atom, scope))
    return {same(expr): expr} if moves else {}


def replaced(expr: ir.Expr, literal: bytes, by: ir.Constant) -> ir.Expr:
    """With a constant for a literal, given as `same` shows it."""
    if isinstance(expr, ir.And | ir.Or):
        return joined(type(expr), [replaced(item, literal, by) for item in expr.items])
    return by if same(expr) == literal else expr
