"""Comparisons and `in`: two terms -> an atom of the IR, or a refusal that says what does not fit.

    Attribute(country), "in", Items("FR", "DE")  ->  In(country, ("DE", "FR"))
    Attribute(semver(v)), "!=", "2.0.0"          ->  Not(Compare(semver(v), "==", "2.0.0"))
    FlagValue("plan"), "==", "pro"               ->  FlagIs("plan", ("paid", "trial"))

Another flag's variants are known here, so what is asked of its value is answered now, for each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec

from rules_compiler import ir
from rules_compiler.dialects.burgee.refusal import Refused
from rules_compiler.dialects.burgee.terms import (
    FLIPPED,
    Attribute,
    Constant,
    FlagValue,
    Items,
    Kind,
    Moment,
    Term,
    Truth,
    described,
    holds,
    moments_compared,
)

# What a constant must be for each way of reading an attribute, and how to write one.
_WANTED: dict[ir.Via, tuple[Kind, str]] = {
    ir.Via.LOWER: ("string", "compare it with a string"),
    ir.Via.SIZE: ("number", "compare it with a whole number"),
    ir.Via.SEMVER: ("version", 'compare it with `semver("2.3.0")`'),
    ir.Via.IP: ("address", 'compare it with `ip("…")`, or ask `in cidr("…")`'),
}
_FLAG_KINDS: dict[str, Kind] = {"boolean": "boolean", "string": "string", "integer": "number", "number": "number"}


def compared(op: str, left: Term, right: Term, at: int) -> ir.Expr:
    """`left op right`, for `==`, `!=` and the four orders. Raises Refused."""
    if isinstance(left, Constant) and not isinstance(right, Constant):
        left, right = right, left
        op = FLIPPED[cast(ir.Order, op)] if op != "!=" else op
    if isinstance(right, Constant) and right.kind == "null":
        hint = "`null` is missing: ask `has(a)` or `!has(a)`"
        raise Refused("B219", at, "nothing is compared with `null`", hint)
    match left, right:
        case Constant(), Constant():
            return _folded(op, left, right, at)
        case FlagValue(), Constant():
            return _flag_compared(op, left, right, at)
        case Truth(expr), Constant("boolean", value):
            _equality_only(op, "conditions", at)
            return expr if value is (op == "==") else ir.Not(expr)
        case (Moment(), _) | (_, Moment()):
            if not isinstance(left, Moment) or not isinstance(right, Moment):
                raise _clash(left, right, at, 'wrap both sides, as `timestamp(a) < timestamp("2026-01-01T00:00:00Z")`')
            return _equal_or_order(op, lambda order: moments_compared(order, left, right, at))
        case Attribute(operand), Constant():
            return _with_constant(op, operand, right, at)
        case Attribute(one), Attribute(other):
            return _two_attributes(op, one, other, left, right, at)
        case _:
            raise _clash(left, right, at, "compare an attribute with a constant, or with an attribute")


def contained(left: Term, right: Term, at: int) -> ir.Expr:
    """`left in right`. Raises Refused."""
    match left, right:
        case _, Items(items=()):
            return ir.Constant(False)
        case Attribute(operand), Items(items):
            return _in_list(operand, items, at)
        case FlagValue(), Items(items):
            return _flag_in(left, items, at)
        case Constant(), Items(items):
            kinds = _one_kind(items, at)
            return ir.Constant(kinds == left.kind and any(left.order == _constant(each, at).order for each in items))
        case Moment(), Items(items):
            each = (compared("==", left, item, at) for item in items)
            return _any_of(tuple(each))
        case Attribute(operand), Constant("network" | "address", network) if operand.via is ir.Via.IP:
            return ir.InNetworks(operand, (str(network),))
        case Constant(kind, value), Attribute(operand) if operand.via is ir.Via.VALUE and kind in (
            "string",
            "number",
            "boolean",
        ):
            return ir.Contains(operand, cast(tuple[str, ...], (value,)))
        case Attribute(), Attribute():
            raise Refused("B205", at, "`in` between two attributes", "write `b.exists(x, x == a)`")
        case _, Constant("network"):
            raise _clash(left, right, at, 'wrap the attribute, as `ip(a) in cidr("10.0.0.0/8")`')
        case _:
            raise _clash(left, right, at, '`a in ["x", "y"]`, or `"x" in a` where `a` is a list')


def _with_constant(op: str, operand: ir.Operand, constant: Constant, at: int) -> ir.Expr:
    via, value = operand.via, constant.value
    if via in _WANTED and constant.kind != _WANTED[via][0]:
        raise _clash(Attribute(operand), constant, at, _WANTED[via][1])
    if via is ir.Via.VALUE and constant.kind not in ("string", "number", "boolean"):
        wrap = {"version": "semver", "address": "ip", "network": "ip"}[constant.kind]
        raise _clash(Attribute(operand), constant, at, f"wrap the attribute, as `{wrap}({'.'.join(operand.path)})`")
    if via is ir.Via.IP:
        _equality_only(op, "addresses", at)
        return _inverted(op, ir.InNetworks(operand, (str(value),)))
    if via is ir.Via.SIZE and not isinstance(value, int):
        raise _clash(Attribute(operand), constant, at, _WANTED[via][1])
    if via in (ir.Via.VALUE, ir.Via.LOWER) and op in ("==", "!="):
        return _inverted(op, ir.In(operand, cast(tuple[str, ...], (value,))))
    if constant.kind == "boolean":
        _equality_only(op, "booleans", at)
    return _equal_or_order(op, lambda order: ir.Compare(operand, order, cast(str, value)))


def _two_attributes(op: str, one: ir.Operand, other: ir.Operand, left: Term, right: Term, at: int) -> ir.Expr:
    plain = (ir.Via.VALUE, ir.Via.LOWER)
    if not (one.via in plain and other.via in plain) and not (one.via is other.via is ir.Via.SEMVER):
        raise _clash(left, right, at, "two attributes are compared as they are, in `lower()`, or both in `semver()`")
    return _equal_or_order(op, lambda order: ir.CompareOperands(one, order, other))


def _in_list(operand: ir.Operand, items: tuple[Constant | Moment, ...], at: int) -> ir.Expr:
    kind = _one_kind(items, at)
    if operand.via is ir.Via.IP and kind in ("network", "address"):
        return ir.InNetworks(operand, tuple(sorted({str(_constant(each, at).value) for each in items})))
    each = [_with_constant("==", operand, _constant(item, at), at) for item in items]
    if operand.via in (ir.Via.VALUE, ir.Via.LOWER):
        values = {_constant(item, at).value for item in items}
        return ir.In(operand, tuple(sorted(cast(set[str], values))))
    return _any_of(tuple(each))


def _one_kind(items: tuple[Constant | Moment, ...], at: int) -> Kind | None:
    kinds = sorted({each.kind if isinstance(each, Constant) else "time" for each in items})
    if set(kinds) == {"address", "network"}:
        return "network"
    if len(kinds) > 1:
        raise Refused("B207", at, f"a list of several kinds: {', '.join(kinds)}", "one list holds one kind of constant")
    return cast(Kind, kinds[0]) if kinds[0] != "time" else None


def _constant(item: Constant | Moment, at: int) -> Constant:
    if isinstance(item, Constant):
        if item.kind == "null":
            raise Refused("B219", at, "nothing is compared with `null`", "`null` is missing: ask `has(a)` or `!has(a)`")
        return item
    raise Refused("B205", at, "an attribute is compared with times", "wrap it, as `timestamp(a)`")


def _folded(op: str, left: Constant, right: Constant, at: int) -> ir.Expr:
    if left.kind != right.kind or left.kind in ("null", "network"):
        raise _clash(left, right, at, "both sides must be of one kind")
    if left.kind in ("boolean", "address"):
        _equality_only(op, {"boolean": "booleans", "address": "addresses"}[left.kind], at)
    return ir.Constant(holds(op, left.order, right.order))


def _flag_compared(op: str, flag: FlagValue, constant: Constant, at: int) -> ir.Expr:
    if flag.signature is None:
        return ir.Constant(None)
    kind = _FLAG_KINDS.get(flag.signature.type)
    if kind is None:
        hint = "name its variants in `prerequisites`"
        raise Refused("B306", at, f"{described(flag)} is an object, which nothing is compared with", hint)
    if constant.kind != kind:
        raise _clash(flag, constant, at, f"flag `{flag.flag}` is of type {flag.signature.type}")
    if kind == "boolean":
        _equality_only(op, "booleans", at)
    return _variants(flag.flag, flag.signature.variants, lambda value: holds(op, (value,), constant.order))


def _flag_in(flag: FlagValue, items: tuple[Constant | Moment, ...], at: int) -> ir.Expr:
    _one_kind(items, at)
    named = [_flag_compared("==", flag, _constant(each, at), at) for each in items]
    if flag.signature is None:
        return ir.Constant(None)
    wanted = {variant for each in named if isinstance(each, ir.FlagIs) for variant in each.variants}
    return ir.FlagIs(flag.flag, tuple(name for name in flag.signature.variants if name in wanted))


def flag_is_true(flag: FlagValue, at: int) -> ir.Expr:
    """`flag("f")` where a condition is wanted."""
    return _flag_compared("==", flag, Constant("boolean", True), at)


def _variants(flag: str, variants: dict[str, bytes], test: Callable[[object], bool]) -> ir.Expr:
    wanted = tuple(name for name, value in variants.items() if test(msgspec.json.decode(value)))
    return ir.FlagIs(flag, wanted)


def _equal_or_order(op: str, atom: Callable[[ir.Order], ir.Expr]) -> ir.Expr:
    return ir.Not(atom("==")) if op == "!=" else atom(cast(ir.Order, op))


def _inverted(op: str, atom: ir.Expr) -> ir.Expr:
    return ir.Not(atom) if op == "!=" else atom


def _any_of(items: tuple[ir.Expr, ...]) -> ir.Expr:
    return items[0] if len(items) == 1 else ir.Or(items)


def _equality_only(op: str, what: str, at: int) -> None:
    if op not in ("==", "!="):
        raise Refused("B205", at, f"{what} have no order, so `{op}` means nothing", "compare with `==` or `!=`")


def _clash(left: Term, right: Term, at: int, hint: str) -> Refused:
    return Refused("B205", at, f"{described(left)} cannot be compared with {described(right)}", hint)
