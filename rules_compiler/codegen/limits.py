"""What would make a snapshot too large, refused before much time and memory have gone into it.

check("attributes", 12_345, layout.NODES)
-> CompileError: the environment has 12,345 attributes, more than 10,000 (hint: …) [B530]
"""

from __future__ import annotations

from collections.abc import Iterable

from rules_compiler.diagnostics import CompileError, Diagnostic, shown

CLASS_BITS = 1 << 28  # of one attribute: ordered conditions times breakpoints
ROW_BYTES = 256 << 20  # of all attributes together
FRAGMENT_BYTES = 256 << 20  # of all flags together
FLAG_FRAGMENT_BYTES = 16 << 20


def check(what: str, count: int, limit: int) -> None:
    if count > limit:
        message = f"the environment has {count:,} {what}, more than {limit:,}"
        raise CompileError((Diagnostic("B530", "error", "", message, "split the document into several projects"),))


def check_flag(place: str, what: str, count: int, limit: int, hint: str) -> None:
    if count > limit:
        message = f"the flag has {count:,} {what}, more than {limit:,}"
        raise CompileError((Diagnostic("B530", "error", place, message, hint),))


def attribute(path: Iterable[str]) -> str:
    return shown(".".join(path))
