"""The typed parts of a condition, between its syntax tree and the IR.

semver(app.version)   -> Attribute(Operand(("app", "version"), Via.SEMVER))
"DE"                  -> Constant("string", "DE")
now - duration("1h")  -> Moment(plus=(NOW,), minus=(), offset=-3600000000, degree=1)
a > 1 && b            -> Truth(And(…))
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Literal, assert_never

import msgspec

from rules_compiler import ir
from rules_compiler.diagnostics import quoted, shown
from rules_compiler.dialects.burgee.constants import version_order
from rules_compiler.dialects.burgee.refusal import Refused
from rules_compiler.dialects.burgee.scope import Signature

Kind = Literal["string", "number", "boolean", "null", "version", "address", "network"]

NOW = ir.Operand((), ir.Via.NOW)
_LATEST = 2**62  # microseconds, either side of the epoch: sums of times in the engine then fit 64 bits


class Attribute(msgspec.Struct, frozen=True):
    operand: ir.Operand  # via VALUE, LOWER, SIZE, SEMVER or IP


class Constant(msgspec.Struct, frozen=True):
    kind: Kind
    value: str | int | float | bool | None

    @property
    def order(self) -> tuple[Any, ...]:
        """What to compare it by, with others of its kind."""
        return version_order(self.value) if self.kind == "version" and isinstance(self.value, str) else (self.value,)


class Moment(msgspec.Struct, frozen=True):
    """A sum: attributes and NOW added and taken off, and microseconds. Of degree 1 it is a time, of 0 a duration."""

    plus: tuple[ir.Operand, ...]
    minus: tuple[ir.Operand, ...]
    offset: int
    degree: int


class Items(msgspec.Struct, frozen=True):
    items: tuple[Constant | Moment, ...]


class Truth(msgspec.Struct, frozen=True):
    expr: ir.Expr


class FlagValue(msgspec.Struct, frozen=True):
    flag: str
    signature: Signature | None  # None: its document is broken, which is said there


Term = Attribute | Constant | Moment | Items | Truth | FlagValue

_READINGS = {
    ir.Via.LOWER: "lower",
    ir.Via.SIZE: "size",
    ir.Via.SEMVER: "semver",
    ir.Via.TIMESTAMP: "timestamp",
    ir.Via.IP: "ip",
}


def described(term: Term) -> str:
    """The term in the words of a message."""
    match term:
        case Attribute(operand):
            path = ".".join(operand.path) or "an element"
            return shown(path if operand.via is ir.Via.VALUE else f"{_READINGS[operand.via]}({path})")
        case Constant("null"):
            return "`null`"
        case Constant("string", value):
            return f"the string {quoted(str(value))}"
        case Constant("boolean", value):
            return "`true`" if value else "`false`"
        case Constant(kind, value):
            return f"the {kind} {shown(str(value))}"
        case Moment(degree=degree):
            return "a time" if degree else "a duration"
        case Items():
            return "a list"
        case Truth():
            return "a condition"
        case FlagValue(flag):
            return f'`flag("{flag}")`'
        case _:
            assert_never(term)


def moments_added(left: Moment, right: Moment, sign: int, at: int) -> Moment:
    """`left + right`, or `left - right` with sign -1. A sum of two times is no time. Raises Refused."""
    plus, minus = (right.plus, right.minus) if sign > 0 else (right.minus, right.plus)
    degree = left.degree + sign * right.degree
    if degree not in (0, 1):
        message = "two times have no sum, and a duration less a time is nothing"
        raise Refused("B218", at, message, "add durations to times")
    return Moment(left.plus + plus, left.minus + minus, left.offset + sign * right.offset, degree)


def moments_compared(op: ir.Order, left: Moment, right: Moment, at: int) -> ir.Expr:
    """`now - timestamp(a) < duration("720h")` -> `timestamp(a) > now - 720h`. Raises Refused."""
    if left.degree != right.degree:
        raise Refused("B205", at, "a time is compared with a duration", 'as `now - timestamp(a) < duration("24h")`')
    plus, minus = list(left.plus + right.minus), list(left.minus + right.plus)
    while NOW in plus and NOW in minus:  # attributes stay: where they are missing the comparison is unknown
        plus.remove(NOW)
        minus.remove(NOW)
    constant = right.offset - left.offset  # plus - minus  op  constant
    if abs(constant) > _LATEST:
        raise Refused("B218", at, "the time is out of range", "times reach from year 1 to year 9999")
    match plus, minus:
        case [], []:
            return ir.Constant(holds(op, (0,), (constant,)))
        case [one], []:
            return ir.Compare(one, op, constant)
        case [], [one]:
            return ir.Compare(one, FLIPPED[op], -constant)
        case [one], [other]:
            if one == NOW:
                return ir.CompareOperands(other, FLIPPED[op], one, -constant)
            return ir.CompareOperands(one, op, other, constant)
        case _:
            raise Refused("B218", at, "more than two times in one comparison", "compare two of them at a time")


FLIPPED: dict[ir.Order, ir.Order] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}


_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def holds(op: str, left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    """The comparison of two constants of one kind."""
    return _HOLDS[op](left, right)
