"""What the front end makes of a document, before any pass: what the oracle reads.

lowered({"flags": {"f": {…}}})      ir.Environment(name="default", flags=(Flag(key="f", …),), …)
condition("a == 1")                 In(Operand(("a",)), (1,))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rules_compiler import CompileError, dialects, ir
from rules_compiler.diagnostics import Report


def lowered(document: Mapping[str, Any], environment: str | None = None) -> ir.Environment:
    """Raises CompileError."""
    report = Report()
    source = dialects.READERS["burgee"](document, report)
    found = source.environment(environment, report) if source is not None else None
    if found is None or report.has_errors:
        raise CompileError(report.diagnostics)
    return found


def condition(text: str) -> ir.Expr:
    flag = {"type": "boolean", "variants": {"yes": True}, "rules": [{"when": text, "serve": "yes"}]}
    return lowered({"flags": {"f": flag}}).flags[0].rules[0].when
