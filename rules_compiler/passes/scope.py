"""What a pass may know beside the condition it rewrites: where it stands, and the segments of its environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rules_compiler import ir


class Inlined(NamedTuple):
    """A segment's condition with the segments it names written in, and what that amounts to."""

    when: ir.Expr
    atoms: int
    depth: int
    flags: frozenset[str]  # named by `flag("…")`


class Scope(NamedTuple):
    segments: Mapping[str, Inlined]
    place: str  # of the condition: flags.checkout.rules[2].when


ATOMS = 10_000  # of one condition, segments written in and `?:` written out
DEPTH = 100  # of one condition, segments written in: every pass is recursive
