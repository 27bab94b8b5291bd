"""A flag `it` from the conditions of its rules, and what the passes make of it: what the golden files show.

beta || true
country == "DE"        two rules; they may name the segments and other flags of PROJECT
"""

from __future__ import annotations

from typing import Any, Final

from rules_compiler import ir
from rules_compiler.diagnostics import Report
from rules_compiler.dialects.burgee import lower
from rules_compiler.passes.scope import Inlined, Scope
from rules_compiler.passes.split_rules import split_rules
from rules_compiler.pipeline import CONDITION_PASSES, ConditionPass, inline_all

PROJECT: Final[dict[str, Any]] = {
    "segments": {
        "staff": {"when": 'email.endsWith("@example.com")'},
        "beta": {"include": ["u-1"], "exclude": ["u-2"], "when": 'segment("staff") || plan == "beta"'},
        "tagged": {"when": 'tags.exists(t, t.name == "x" && t.weight > 1)'},
        "nobody": {},
    },
    "flags": {
        "gate": {"type": "boolean", "variants": {"on": True, "off": False}, "fallthrough": "on"},
        "theme": {"type": "string", "variants": {"a": "dark", "b": "light", "c": "grey"}, "fallthrough": "a"},
    },
}


def lowered(conditions: str, **members: Any) -> tuple[ir.Flag, dict[str, Inlined]]:
    """The flag, and the project's segments."""
    variants = {"off": False, "on": True}
    serving = [{"when": when, "serve": "on"} for when in conditions.splitlines()]
    flag = {"type": "boolean", "variants": variants, "rules": serving, "fallthrough": "off", **members}
    report = Report()
    environment = lower({**PROJECT, "flags": {**PROJECT["flags"], "it": flag}}, None, report)
    assert environment is not None, report.diagnostics
    return next(flag for flag in environment.flags if flag.key == "it"), inline_all(environment, report)


def passed(conditions: str, last: ConditionPass, report: Report) -> list[ir.Expr]:
    """The conditions, after the passes up to `last`."""
    flag, segments = lowered(conditions)
    results = []
    for rule in flag.rules:
        condition = rule.when
        for each in CONDITION_PASSES[: CONDITION_PASSES.index(last) + 1]:
            condition = each(condition, Scope(segments, f"{rule.place}.when"), report)
        results.append(condition)
    return results


def conjunctions_of(conditions: str, report: Report, **members: Any) -> tuple[ir.Flag, tuple[ir.Conjunction, ...]]:
    flag, _ = lowered(conditions, **members)
    return flag, split_rules(flag, passed(conditions, CONDITION_PASSES[-1], report), report)


def told(report: Report) -> str:
    return "".join(f"\n{each}" for each in report.diagnostics)
