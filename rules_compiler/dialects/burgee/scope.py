"""What a flag or a segment can see of the rest of the document: names that exist, and what other flags can give.

A flag is compiled from its own text and this, and remembers which names it asked for (`Seen`): as long as those answers
stay the same, so does what was compiled.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

import msgspec

from rules_compiler.document import FlagType

_MOST_TO_COMPARE = 200  # names to look through for one like another; more would take long


class Signature(msgspec.Struct, frozen=True):
    """What other flags need to know of a flag."""

    type: FlagType
    variants: dict[str, bytes]  # name -> value as compact JSON, in the order written


class Scope(msgspec.Struct, frozen=True):
    environments: tuple[str, ...]
    environment: str  # the one that is compiled
    segments: frozenset[str]
    flags: Mapping[str, Signature | None]  # None: there is such a flag, but its document is broken


class Seen:
    """The names one flag or segment asked for, with the answers, and the attributes it reads."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.segments: dict[str, str] = {}  # name -> place where it is first named
        self.flags: dict[str, str] = {}
        self.attributes: set[tuple[str, ...]] = set()

    def segment_exists(self, name: str, place: str) -> bool:
        if name in self._scope.segments:
            self.segments.setdefault(name, place)
            return True
        return False

    def flag_exists(self, name: str, place: str) -> bool:
        if name in self._scope.flags:
            self.flags.setdefault(name, place)
            return True
        return False

    def signature(self, name: str) -> Signature | None:
        return self._scope.flags[name]


def like(name: str, names: Collection[str]) -> str:
    """A hint that names what was probably meant, or nothing."""
    if len(names) > _MOST_TO_COMPARE:
        return ""
    close = difflib.get_close_matches(name[:128], sorted(names), n=1)
    return f"did you mean `{close[0]}`?" if close else ""
