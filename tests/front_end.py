"""What the front end makes of a document, before any pass: what the oracle reads.

lowered({"flags": {"f": {…}}})      ir.Environment(name="default", flags=(Flag(key="f", …),), …)
condition("a == 1")                 In(Operand(("a",)), (1,))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rules_compiler import ir
from rules_compiler.diagnostics import CompileError, Report
from rules_compiler.dialects.burgee import lower


def lowered(document: Mapping[str, Any], environment: str | None = None) -> ir.Environment:
    """Raises CompileError."""
    report = Report()
    found = lower(document, environment, report)
    if found is None:
        raise CompileError(report.diagnostics)
    return found


def condition(text: str) -> ir.Expr:
    flag = {"type": "boolean", "variants": {"yes": True}, "rules": [{"when": text, "serve": "yes"}]}
    return lowered({"flags": {"f": flag}}).flags[0].rules[0].when
