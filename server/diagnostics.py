"""Diagnostics as a compiler prints them: a line each, and a count.

flags.checkout.rules[0].serve: error[B301]: unknown variant `nwe` (hint: did you mean `new`?)
1 error, 2 warnings
"""

from __future__ import annotations

from collections.abc import Iterable

from rules_compiler import Diagnostic


def line_of(diagnostic: Diagnostic) -> str:
    hint = f" (hint: {diagnostic.hint})" if diagnostic.hint else ""
    return f"{diagnostic.where}: {diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}{hint}"


def summary_of(diagnostics: Iterable[Diagnostic]) -> str:
    """`1 error, 2 warnings`; `nothing to say` where there is none."""
    severities = [each.severity for each in diagnostics]
    counts = ((severities.count(name), name) for name in ("error", "warning", "info"))
    plural = {"error": "errors", "warning": "warnings", "info": "notes"}
    singular = {"error": "error", "warning": "warning", "info": "note"}
    return ", ".join(f"{n} {singular[name] if n == 1 else plural[name]}" for n, name in counts if n) or "nothing to say"
