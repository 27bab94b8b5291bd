"""Which environments a document has, so that each can be compiled.

b"environments: [staging, production]"      becomes      ("staging", "production")
"""

from __future__ import annotations

import msgspec

from rules_compiler import CompileError, lint
from rules_compiler.diagnostics import Report
from rules_compiler.reading import read

ONLY = ("default",)  # of a document that names none


def environments_of(document: bytes) -> tuple[str, ...]:
    """Raises CompileError for a document that cannot be taken apart."""
    pieces = read(document, Report())
    if pieces is not None and pieces.environments is None:
        return ONLY
    try:
        names = msgspec.json.decode(pieces.environments or b"" if pieces else b"", type=tuple[str, ...])
    except msgspec.DecodeError:
        names = ()
    if not names:
        raise CompileError(lint(document))
    return names
