"""What the compiler says about a document: one frozen value per finding, collected, never only the first.

    report = Report()
    report.error("B301", "flags.checkout.rules[0].serve", "unknown variant `nwe`", hint="did you mean `new`?")
    str(report.diagnostics[0])

becomes

    flags.checkout.rules[0].serve: unknown variant `nwe` (hint: did you mean `new`?) [B301]

docs/diagnostics.md lists every code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Severity = Literal["error", "warning", "info"]


class Diagnostic(msgspec.Struct, frozen=True, omit_defaults=True):
    """One finding. `line` and `column` count from 1 within the text of a condition; `document_line` within YAML."""

    code: str
    severity: Severity
    place: str  # flags.checkout.rules[2].when; empty: the document as a whole
    message: str
    hint: str = ""
    line: int | None = None
    column: int | None = None
    document_line: int | None = None

    @property
    def where(self) -> str:
        """The place, with the line and the column that are known: `line 3: flags.a.rules[0].when:1:9`."""
        where = self.place or "document"
        if self.document_line is not None:
            where = f"line {self.document_line}: {where}"
        if self.column is not None:
            where = f"{where}:{self.line}:{self.column}"
        return where

    def __str__(self) -> str:
        hint = f" (hint: {self.hint})" if self.hint else ""
        return f"{self.where}: {self.message}{hint} [{self.code}]"


class CompileError(Exception):
    """The document does not compile. Carries every diagnostic, warnings too, in the order of the document."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: list[Diagnostic] = list(diagnostics)
        super().__init__("\n".join(str(each) for each in self.diagnostics))


class Report:
    """Collects diagnostics in the order they are found; the same finding twice is kept once."""

    def __init__(self) -> None:
        self._found: dict[Diagnostic, None] = {}

    def __len__(self) -> int:
        return len(self._found)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return tuple(self._found)

    @property
    def has_errors(self) -> bool:
        return any(each.severity == "error" for each in self._found)

    def add(self, diagnostic: Diagnostic) -> None:
        self._found[diagnostic] = None

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        self._found.update(dict.fromkeys(diagnostics))

    def error(
        self, code: str, place: str, message: str, *, hint: str = "", line: int | None = None, column: int | None = None
    ) -> None:
        self.add(Diagnostic(code, "error", place, message, hint, line, column))

    def warning(
        self, code: str, place: str, message: str, *, hint: str = "", line: int | None = None, column: int | None = None
    ) -> None:
        self.add(Diagnostic(code, "warning", place, message, hint, line, column))


def shown(text: str, limit: int = 60) -> str:
    """User text in backticks for a message: one line, cut to `limit`, nothing unprintable.

    >>> shown("a\\nb")
    '`a\\\\nb`'
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return "`" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text) + "`"


def quoted(text: str) -> str:
    """As `shown`, for a string of the user's: `"abc"`."""
    return shown(f'"{text}"')
