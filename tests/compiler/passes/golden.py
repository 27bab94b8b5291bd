"""Golden files: a flag in, what a pass makes of it out. `pytest --update-golden` writes the second part.

    === a constant decides
    beta || true
    ---
    true

Each line of the first part is the condition of one rule of the flag `it`. The segments and other flags
that conditions may name are in PROJECT.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from rules_compiler import ir
from rules_compiler.diagnostics import Report
from rules_compiler.dialects.burgee import lower
from rules_compiler.passes.scope import Inlined, Scope
from rules_compiler.passes.split_rules import split_rules
from rules_compiler.pipeline import CONDITION_PASSES, ConditionPass, inline_all

FILES: Final = Path(__file__).parent / "golden"

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


class Case(NamedTuple):
    file: Path
    name: str
    rules: tuple[str, ...]

    def check(self, result: str, update: bool) -> None:
        parts = _read(self.file)
        given, expected = parts[self.name]
        if update:
            parts[self.name] = given, result.strip()
            texts = (f"=== {name}\n{given}---\n{result}\n" for name, (given, result) in parts.items())
            self.file.write_text("\n".join(texts))
        else:
            assert result.strip() == expected


def _read(file: Path) -> dict[str, tuple[str, str]]:
    """Per case, what is given and what is expected."""
    parts = {}
    for part in file.read_text().split("=== ")[1:]:
        name, _, rest = part.partition("\n")
        given, _, expected = rest.partition("---\n")
        assert name not in parts, f"two cases are called {name}"
        parts[name] = given, expected.strip()
    return parts


def cases(name: str) -> list[Case]:
    file = FILES / f"{name}.txt"
    return [Case(file, title, tuple(given.splitlines())) for title, (given, _) in _read(file).items()]


def lowered(rules: tuple[str, ...], **members: Any) -> tuple[ir.Flag, dict[str, Inlined]]:
    """The flag `it` with these rules, and the project's segments."""
    variants = {"off": False, "on": True}
    serving = [{"when": when, "serve": "on"} for when in rules]
    flag = {"type": "boolean", "variants": variants, "rules": serving, "fallthrough": "off", **members}
    report = Report()
    environment = lower({**PROJECT, "flags": {**PROJECT["flags"], "it": flag}}, None, report)
    assert environment is not None, report.diagnostics
    return next(flag for flag in environment.flags if flag.key == "it"), inline_all(environment, report)


def passed(rules: tuple[str, ...], last: ConditionPass, report: Report) -> list[ir.Expr]:
    """What the passes up to `last` make of the conditions of the rules."""
    flag, segments = lowered(rules)
    results = []
    for rule in flag.rules:
        condition = rule.when
        for each in CONDITION_PASSES[: CONDITION_PASSES.index(last) + 1]:
            condition = each(condition, Scope(segments, f"{rule.place}.when"), report)
        results.append(condition)
    return results


def conjunctions_of(
    rules: tuple[str, ...], report: Report, **members: Any
) -> tuple[ir.Flag, tuple[ir.Conjunction, ...]]:
    flag, _ = lowered(rules, **members)
    return flag, split_rules(flag, passed(rules, CONDITION_PASSES[-1], report), report)


def told(report: Report) -> str:
    return "".join(f"\n{each}" for each in report.diagnostics)
