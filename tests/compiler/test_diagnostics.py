"""Every code that the compiler can give is explained in docs/diagnostics.md, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from rules_compiler.diagnostics import CompileError, Diagnostic, Report, shown

ROOT = Path(__file__).parents[2]
OURS = (
    "rules_compiler/*.py",
    "rules_compiler/dialects/**/*.py",
    "rules_compiler/passes/*.py",
    "rules_compiler/codegen/*.py",
)


def test_every_code_is_explained() -> None:
    sources = [file.read_text() for pattern in OURS for file in ROOT.glob(pattern)]
    used = {code for text in sources for code in re.findall(r'"(B[0-9]{3})"', text)}
    explained = re.findall(r"^\| (B[0-9]{3}) \|", (ROOT / "docs" / "diagnostics.md").read_text(), re.MULTILINE)
    assert len(explained) == len(set(explained))
    assert used == set(explained)


def test_text() -> None:
    found = Diagnostic("B205", "error", "flags.a.rules[0].when", "does not fit", "wrap it", 2, 7, 31)
    assert str(found) == "line 31: flags.a.rules[0].when:2:7: does not fit (hint: wrap it) [B205]"
    assert str(Diagnostic("B101", "error", "", "cannot be read")) == "document: cannot be read [B101]"
    assert str(CompileError([found, found])) == f"{found}\n{found}"


def test_user_text_is_cut_and_made_visible() -> None:
    assert shown("a\nb\0\u202e") == r"`a\nb\x00\u202e`"
    assert shown("x" * 100) == "`" + "x" * 59 + "…`"


def test_a_finding_is_kept_once() -> None:
    report = Report()
    for _ in range(2):
        report.warning("B206", "flags.a", "twice")
    assert len(report) == 1 and not report.has_errors
