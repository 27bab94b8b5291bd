"""Conditions: their text in, the IR or the diagnostics out (golden/conditions.txt), and the caps."""

from __future__ import annotations

from typing import Any

import pytest

from rules_compiler import ir
from rules_compiler.diagnostics import Report
from rules_compiler.dialects.burgee import lower
from tests.compiler.golden_files import Golden, golden
from tests.compiler.passes.notation import shown

PROJECT: dict[str, Any] = {
    "segments": {"staff": {"when": "employee"}, "beta": {"include": ["u-1"]}},
    "flags": {
        "theme": {"type": "string", "variants": {"a": "dark", "b": "light", "c": "grey", "d": "dark"}},
        "gate": {"type": "boolean", "variants": {"on": True, "off": False}},
        "rate": {"type": "number", "variants": {"low": 1, "high": 1.5}},
        "layout": {"type": "object", "variants": {"a": {}}},
    },
}


def lowered(condition: str) -> tuple[ir.Expr | None, Report]:
    report = Report()
    flag = {"type": "boolean", "variants": {"on": True}, "rules": [{"when": condition, "serve": "on"}]}
    environment = lower({**PROJECT, "flags": {**PROJECT["flags"], "it": flag}}, None, report)
    if environment is None:
        return None, report
    return next(each for each in environment.flags if each.key == "it").rules[0].when, report


def codes(condition: str) -> list[str]:
    return [each.code for each in lowered(condition)[1].diagnostics]


@pytest.mark.parametrize("case", golden("conditions"), ids=lambda case: case.name)
def test_golden(case: Golden, update_golden: bool) -> None:
    lines = []
    for condition in case.given.removesuffix("\n").replace("'''a\n", "'''a\0").split("\n"):
        condition = condition.replace("\0", "\n")
        expr, report = lowered(condition)
        lines.append(shown(expr) if expr is not None else condition)
        lines += [f"    {each.severity} {str(each).removeprefix('flags.it.rules[0].')}" for each in report.diagnostics]
    case.check("\n".join(lines), update_golden)


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("(" * 17 + "a" + ")" * 17, "B510"),
        ("(" * 5000, "B510"),
        ("!" * 10000 + "a ==", "B201"),
        ("a ? b : " * 100 + "c", "B510"),
        ("a" + " + a" * 3000, "B510"),
        ("a == " * 3000 + "a", "B510"),
        ("a" + ".b" * 100, "B517"),
        (" || ".join(f"a > {n}" for n in range(257)), "B511"),
        (" || ".join(f"a == {n}" for n in range(257)), "B511"),
        ("a == 1 " + " " * 17000, "B509"),
        ('a.matches("' + "x" * 513 + '")', "B513"),
        ('a.matches("(x{500}){2}((((x{30}){30}){30}){30})")', "B209"),
        ('a == "' + r"\n" * 5000, "B201"),  # exponential in cel-python's own lexer
        ('a == "' + r"\"" * 5000, "B201"),
        ("-" * 10000 + "1 == a", None),
        ("!" * 10000 + "a", None),
        (" || ".join(f"a > {n}" for n in range(256)), None),
        ("(" * 16 + "a" + ")" * 16, None),
        ("a in [" + ", ".join(f"{n}" for n in range(2500)) + "]", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_caps(condition: str, code: str | None) -> None:
    assert codes(condition) == ([code] if code else [])


def test_a_place_in_the_text() -> None:
    _, report = lowered("a == 1 &&\n  (b == 2 ||\n    foo(c))")
    (found,) = report.diagnostics
    assert (found.place, found.line, found.column) == ("flags.it.rules[0].when", 3, 5)
    assert str(found) == "flags.it.rules[0].when:3:5: unknown function `foo` [B203]"
