"""Conditions and contexts, generated so that they meet: few attributes, few values, every kind of value and atom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from rules_compiler import ir
from tests.reference import Truth, truth_of

STRINGS = ["", "a", "ab", "b", "ba", "A", "1.2.3", "1.2.0-rc.1", "1.3", "10.0.0.1", "1970-01-01T00:00:02Z"]
NUMBERS = [0, 1, 1.5, 2, 3]
NOW = 2_000  # milliseconds

VALUES = [None, True, False, *NUMBERS, -1, 2**60, *STRINGS, "abc", "9", [], ["a"], [1, None, True], {}, {"a": "a"}]
"""At least one of each kind, and of each side of whatever the constants below divide."""

values = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([*NUMBERS, 2**60, float("nan")]),
    st.sampled_from(STRINGS),
    st.lists(st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(STRINGS)), max_size=3),
    st.fixed_dictionaries({}, optional={"a": st.sampled_from(["a", 1, None])}),
)
contexts = st.fixed_dictionaries({}, optional=dict.fromkeys("xyz", values))

_ORDERS = ["<", "<=", ">", ">="]
FLAGS = {"f": "a", "g": "b", "h": None}
"""The variant that each other flag gives."""


def _lists(choices: list[Any], **limits: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    chosen = st.lists(st.sampled_from(choices), min_size=1, max_size=4, unique=True)
    return chosen.map(lambda values: tuple(sorted(values)))


_constants = st.one_of(_lists(STRINGS), _lists(NUMBERS), _lists([False, True]))


def operands(depth: int, via: ir.Via = ir.Via.VALUE) -> st.SearchStrategy[ir.Operand]:
    context = st.sampled_from([("x",), ("y",), ("y", "a")]).map(lambda path: ir.Operand(path, via))
    if depth == 0:
        return context
    return st.one_of(context, *(st.just(ir.Operand((), via, scope)) for scope in range(1, depth + 1)))


def atoms(depth: int = 0) -> st.SearchStrategy[ir.Expr]:
    def at(via: ir.Via) -> st.SearchStrategy[ir.Operand]:
        return operands(depth, via)

    value = at(ir.Via.VALUE)
    text = st.one_of(value, at(ir.Via.LOWER))
    order = st.sampled_from(_ORDERS)
    any_order = st.sampled_from([*_ORDERS, "=="])
    numbers, strings = st.sampled_from(NUMBERS), st.sampled_from(STRINGS)
    moments = st.sampled_from([1_000_000, 2_000_000, 3_000_000])
    versions = st.sampled_from(["1.2", "1.2.0-rc.1", "1.2.3", "v1.3", "2"])
    tests = st.sampled_from(["starts_with", "ends_with", "contains", "matches"])
    return st.one_of(
        st.builds(ir.In, value, _constants),
        st.builds(ir.In, value, _constants),
        st.builds(ir.In, at(ir.Via.LOWER), _lists(STRINGS)),
        st.builds(ir.Has, value),
        st.builds(ir.Compare, value, order, numbers),
        st.builds(ir.Compare, text, order, strings),
        st.builds(ir.Compare, at(ir.Via.SIZE), any_order, st.sampled_from([0, 1, 2])),
        st.builds(ir.Compare, at(ir.Via.SEMVER), any_order, versions),
        st.builds(ir.Compare, at(ir.Via.TIMESTAMP), any_order, moments),
        st.builds(ir.Compare, st.just(ir.Operand((), ir.Via.NOW)), any_order, moments),
        st.builds(ir.Text, text, tests, st.sampled_from(["", "a", "b", "ab", "1."])),
        st.builds(ir.InIds, value, st.sampled_from(["few", "none"])),
        st.builds(ir.InNetworks, at(ir.Via.IP), _lists(["10.0.0.0/8", "10.0.0.0/31", "::/0", "192.168.0.0/16"])),
        st.builds(ir.Contains, value, _constants),
        st.builds(ir.CompareOperands, value, any_order, value),
        st.builds(ir.FlagIs, st.sampled_from(sorted(FLAGS)), _lists(["a", "b"])),
    )


def conditions(depth: int = 0, segments: tuple[str, ...] = (), leaves: int = 12) -> st.SearchStrategy[ir.Expr]:
    """`depth`: of the quantifiers around."""
    leaf: list[st.SearchStrategy[ir.Expr]] = [atoms(depth)] * 4
    leaf.append(st.builds(ir.Constant, st.sampled_from([True, False, None])))
    if segments:
        leaf.append(st.builds(ir.SegmentIs, st.sampled_from(segments)))
    if depth < 2:
        body = conditions(depth + 1, segments, 4)
        leaf.append(st.builds(ir.Quantified, st.sampled_from(["exists", "all"]), operands(depth), body))
    return st.recursive(st.one_of(*leaf), _trees, max_leaves=leaves)


def _trees(items: st.SearchStrategy[ir.Expr]) -> st.SearchStrategy[ir.Expr]:
    several = st.lists(items, min_size=1, max_size=4).map(tuple)
    return st.one_of(
        st.builds(ir.And, several),
        st.builds(ir.Or, several),
        st.builds(ir.Not, items),
        st.builds(ir.Choice, items, items, items),
    )


def _other(key: str, variant: str | None) -> ir.Flag:
    variants = (ir.Variant("a", b"true"), ir.Variant("b", b"false"))  # type: ignore[arg-type]
    return ir.Flag(key, "boolean", variants, True, None, (), (), variant, False, f"flags.{key}")


def environment(**segments: ir.Expr) -> ir.Environment:
    """With the flags and id lists that conditions name."""
    return ir.Environment(
        "test",
        tuple(_other(key, variant) for key, variant in FLAGS.items()),
        {key: ir.Segment(key, when, "", f"segments.{key}") for key, when in segments.items()},
        {"few": ("1", "a", "ab"), "none": ()},
    )


ENVIRONMENT = environment()


def truth(expr: ir.Expr, context: dict[str, Any], within: ir.Environment = ENVIRONMENT) -> Truth:
    return truth_of(expr, context, NOW, within)


def holds(literal: ir.Literal, context: dict[str, Any]) -> bool:
    return truth(literal.atom, context) is literal.positive


def flag_of(*conditions: ir.Expr, serve: Callable[[int], ir.Serve] = lambda i: "on") -> ir.Flag:
    variants = (ir.Variant("off", b"false"), ir.Variant("on", b"true"))  # type: ignore[arg-type]
    rules = tuple(
        ir.Rule(f"rule-{i}", "", when, serve(i), "", f"flags.it.rules[{i}]") for i, when in enumerate(conditions)
    )
    return ir.Flag("it", "boolean", variants, True, "off", (), rules, "off", False, "flags.it")
