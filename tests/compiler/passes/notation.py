"""The intermediate representation as text, for golden files: like CEL, but saying exactly which node it is.

And((In(Operand(("a",)), (1, 2)), Not(FlagIs("f", ("on",)))))     ->     a in [1, 2] && !flag("f") in ["on"]
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from rules_compiler import ir


def shown(expr: ir.Expr) -> str:
    match expr:
        case ir.Constant(value):
            return {True: "true", False: "false", None: "unknown"}[value]
        case ir.And(items):
            return " && ".join(_inner(item) for item in items)
        case ir.Or(items):
            return " || ".join(_inner(item) for item in items)
        case ir.Not(item):
            return "!" + _inner(item)
        case ir.Choice(test, then, otherwise):
            return f"{_inner(test)} ? {_inner(then)} : {_inner(otherwise)}"
        case ir.Has(operand):
            return f"has({_operand(operand)})"
        case ir.In(operand, values):
            return f"{_operand(operand)} in {json.dumps(values)}"
        case ir.InIds(operand, ids):
            return f"{_operand(operand)} in ids({json.dumps(ids)})"
        case ir.InNetworks(operand, networks):
            return f"{_operand(operand)} in networks({json.dumps(networks)})"
        case ir.Compare(operand, op, value):
            return f"{_operand(operand)} {op} {json.dumps(value)}"
        case ir.Text(operand, test, pattern):
            return f"{_operand(operand)}.{test}({json.dumps(pattern)})"
        case ir.Contains(operand, values):
            return f"{_operand(operand)} contains one of {json.dumps(values)}"
        case ir.Quantified(kind, operand, body):
            return f"{_operand(operand)}.{kind}({shown(body)})"
        case ir.CompareOperands(left, op, right, offset):
            return f"{_operand(left)} {op} {_operand(right)}" + (f" + {offset}" if offset else "")
        case ir.FlagIs(flag, variants):
            return f"flag({json.dumps(flag)}) in {json.dumps(variants)}"
        case ir.SegmentIs(segment):
            return f"segment({json.dumps(segment)})"
    raise AssertionError(expr)


def shown_literals(literals: Iterable[ir.Literal]) -> str:
    return ", ".join(_inner(each.atom) if each.positive else "!" + _inner(each.atom) for each in literals)


def _inner(expr: ir.Expr) -> str:
    return f"({shown(expr)})" if isinstance(expr, ir.And | ir.Or | ir.Choice) else shown(expr)


def _operand(operand: ir.Operand) -> str:
    path = ".".join((("", "element", "inner", "third", "fourth")[operand.scope], *operand.path)).strip(".")
    return path if operand.via is ir.Via.VALUE else f"{operand.via.value}({path})"
