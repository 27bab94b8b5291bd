"""The oracle against docs/semantics.md: every row as data, what JSON cannot write, and the order of decision."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from rules_compiler import ir
from tests import reference, semantics_table
from tests.front_end import condition, lowered
from tests.reference import Answer, evaluate, truth_of

NOW = semantics_table.SPEC["now"]
ROWS = tuple(semantics_table.rows())


@pytest.fixture(scope="module")
def table() -> ir.Environment:
    return lowered(semantics_table.document())


@pytest.mark.parametrize("about", list(dict.fromkeys(row.about for row in ROWS)))
def test_each_row_of_the_table(table: ir.Environment, about: str) -> None:
    conditions = {flag.key: flag.rules[0].when for flag in table.flags if flag.rules}
    wrong = []
    for row in ROWS:
        if row.about == about:
            found = truth_of(conditions[row.flag], row.context, row.now, table)
            if found is not row.truth:
                wrong.append(f"{row.when} with {row.context} is {found}, not {row.truth}")
            assert evaluate(table, row.flag, row.context, row.now).variant == semantics_table.TRUTHS[found]
    assert not wrong, "\n".join(wrong)


def test_doctests() -> None:
    assert doctest.testmod(reference).failed == 0


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**53, "\ud800", b"bytes", {1}, 1j, object(), ["x"] * 4097, lambda: None]
)
def test_unusable_values_are_there_and_compare_with_nothing(value: Any) -> None:
    context = {"a": {"b": value}}
    assert truth_of(condition("has(a.b)"), context) is True
    for text in ("a.b == 'x'", "a.b == 1", "a.b < 1", "a.b", "size(a.b) >= 0", "'x' in a.b", "a.b.all(x, false)"):
        assert truth_of(condition(text), context) is None, text


@pytest.mark.parametrize("make", [list, tuple])
def test_lists_and_tuples_up_to_4096_elements(make: type) -> None:
    assert truth_of(condition("size(a) == 4096 && 'x' in a"), {"a": make(["y"] * 4095 + ["x"])}) is True


@pytest.mark.parametrize("size, truth", [(64, False), (65, None)])
def test_lists_inside_a_quantifier_have_64_elements(size: int, truth: bool | None) -> None:
    context = {"a": ["x"] * 1000, "b": ["y"] * size}
    assert truth_of(condition("a.exists(x, b.exists(y, x == y))"), context) is truth
    assert truth_of(condition("a.exists(x, 'z' in b)"), context) is False
    assert truth_of(condition("a.exists(x, b.exists(y, y == 'z'))"), context) is False
    assert truth_of(condition("b.exists(x, x == 'z')"), context) is False


FLAG = {
    "type": "string",
    "variants": {"a": "A", "b": "B", "c": "C"},
    "offVariant": "c",
    "rules": [{"when": "go", "serve": "a"}],
    "fallthrough": "b",
}
HALF = {"split": [{"variant": "a", "weight": 50}, {"variant": "b", "weight": 50}]}
WHOLE = {"split": [{"variant": "a", "weight": 100}, {"variant": "b", "weight": 0}]}
UNMET = {"cause": "PREREQUISITE_FAILED", "prerequisite": "base"}


def answer_of(context: dict[str, Any] | None = None, *, base: dict[str, Any] | None = None, **members: Any) -> Answer:
    flag = {name: value for name, value in {**FLAG, **members}.items() if value != "left out"}
    flags = {"f": flag, "base": {**FLAG, "fallthrough": HALF, **(base or {})}}
    return evaluate(lowered({"flags": flags}), "f", context or {}, NOW)


OUT = "left out"
NEEDS = [{"flag": "base", "variants": ["a", "c"]}]


@pytest.mark.parametrize(
    "found, expected",
    [
        (lambda: evaluate(lowered({"flags": {}}), "f", {}, NOW), Answer(None, None, "ERROR", "FLAG_NOT_FOUND")),
        (lambda: answer_of(enabled=False), Answer("C", "c", "DISABLED")),
        (lambda: answer_of(enabled=False, offVariant=OUT), Answer(None, None, "DISABLED")),
        (lambda: answer_of(enabled=False, rules=[], fallthrough="a"), Answer("C", "c", "DISABLED")),
        (lambda: answer_of({"go": True}), Answer("A", "a", "TARGETING_MATCH")),
        (lambda: answer_of({"go": False}), Answer("B", "b", "DEFAULT")),
        (lambda: answer_of({"go": "yes"}), Answer("B", "b", "DEFAULT")),
        (lambda: answer_of({}), Answer("B", "b", "DEFAULT")),
        (lambda: answer_of(rules=[]), Answer("B", "b", "STATIC")),
        (lambda: answer_of(rules=[], fallthrough=OUT), Answer(None, None, "DEFAULT")),
        (lambda: answer_of({"go": False}, fallthrough=OUT), Answer(None, None, "DEFAULT")),
        (lambda: answer_of(rules=[{"when": "true", "serve": None}]), Answer(None, None, "DEFAULT")),
        (lambda: answer_of({"go": True}, rules=[{"when": "go", "serve": WHOLE}]), Answer("A", "a", "SPLIT")),
        (lambda: answer_of(rules=[], fallthrough=WHOLE), Answer("A", "a", "SPLIT")),
        (lambda: answer_of(rules=[], fallthrough=HALF), Answer(None, None, "ERROR", "TARGETING_KEY_MISSING")),
        (
            lambda: answer_of({"targetingKey": ""}, fallthrough=HALF),
            Answer(None, None, "ERROR", "TARGETING_KEY_MISSING"),
        ),
        (
            lambda: answer_of({"go": True}, rules=[{"when": "go", "serve": HALF}, {"when": "go", "serve": "a"}]),
            Answer(None, None, "ERROR", "TARGETING_KEY_MISSING"),
        ),
        # a prerequisite
        (lambda: answer_of({"go": True}, prerequisites=NEEDS), Answer("A", "a", "TARGETING_MATCH")),
        (lambda: answer_of(prerequisites=NEEDS), Answer("C", "c", "DEFAULT", None, UNMET)),  # base is in error
        (
            lambda: answer_of(prerequisites=NEEDS, base={"fallthrough": "b"}, offVariant=OUT),
            Answer(None, None, "DEFAULT", None, UNMET),
        ),
        (lambda: answer_of(prerequisites=NEEDS, base={"fallthrough": None}), Answer("C", "c", "DEFAULT", None, UNMET)),
        (lambda: answer_of(prerequisites=NEEDS, base={"enabled": False}), Answer("B", "b", "DEFAULT")),
        (lambda: answer_of(prerequisites=NEEDS, base={"enabled": False}, rules=[]), Answer("B", "b", "DEFAULT")),
        (lambda: answer_of(prerequisites=NEEDS, enabled=False), Answer("C", "c", "DISABLED")),
    ],
)
def test_order_of_decision(found: Any, expected: Answer) -> None:
    assert found() == expected


@pytest.mark.parametrize(
    "key, text",
    [("u", "u"), (7, "7"), (7.0, "7"), (-0.0, "0"), (-3, "-3"), (1e3, "1000"), (2**53 - 1, "9007199254740991")],
)
def test_bucketing_keys(key: Any, text: str) -> None:
    expected = "A" if reference.bucket_of(text, "f") < 50_000 else "B"
    assert answer_of({"targetingKey": key}, rules=[], fallthrough=HALF) == Answer(expected, expected.lower(), "SPLIT")


@pytest.mark.parametrize("key", [None, "", 1.5, True, 2**53, 2.0**53, [], {}, "\ud800", float("nan")])
def test_what_is_no_bucketing_key(key: Any) -> None:
    found = answer_of({"targetingKey": key}, rules=[], fallthrough=HALF)
    assert (found.reason, found.error_code) == ("ERROR", "TARGETING_KEY_MISSING")


def test_the_salt_is_the_flags_key_and_by_chooses_the_attribute() -> None:
    split = {**HALF, "by": "account.id", "salt": "s"}
    for number in range(20):
        expected = "a" if reference.bucket_of(f"u{number}", "s") < 50_000 else "b"
        context = {"account": {"id": f"u{number}"}, "targetingKey": "other"}
        assert answer_of(context, rules=[], fallthrough=split).variant == expected
