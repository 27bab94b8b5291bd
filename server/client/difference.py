"""What differs between two documents: of the working copy whole, and of one environment as it is evaluated.

    between({"a": {…, "enabled": True}, "b": {…}}, {"a": {…, "enabled": False}, "c": {…}})

becomes `(Change("c", "added"), Change("a", "changed", ("enabled",)), Change("b", "removed"))`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from server.client.folder import Definition, Document

What = Literal["added", "changed", "removed"]
SIGNS: Mapping[str, str] = {"added": "+", "changed": "~", "removed": "-"}


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    key: str
    what: What
    members: tuple[str, ...] = ()  # of a changed one: which of its members
    segment: bool = False

    def __str__(self) -> str:
        kind = "segment " if self.segment else ""
        return f"{SIGNS[self.what]} {kind}{self.key}" + (f" ({', '.join(self.members)})" if self.members else "")


def between(before: Document, after: Document) -> tuple[Change, ...]:
    """Of the working copies."""
    flags = _between(before.flags, after.flags)
    return (*flags, *_between(before.segments, after.segments, segment=True))


def between_in(environment: str, before: Document | None, after: Document) -> tuple[Change, ...]:
    """Of what is evaluated in one environment. Before: None where nothing is published."""
    old = before or Document(())
    return between(_seen_in(environment, old), _seen_in(environment, after))


def _seen_in(environment: str, document: Document) -> Document:
    return Document((), _all_in(environment, document.segments), _all_in(environment, document.flags))


def _all_in(environment: str, definitions: Mapping[str, Definition]) -> dict[str, Definition]:
    """Each without its overrides, but with those of this environment in place."""
    return {
        key: {
            **{name: value for name, value in body.items() if name != "environments"},
            **(body.get("environments") or {}).get(environment, {}),
        }
        for key, body in definitions.items()
    }


def _between(
    before: Mapping[str, Definition], after: Mapping[str, Definition], *, segment: bool = False
) -> tuple[Change, ...]:
    added = [Change(key, "added", segment=segment) for key in after if key not in before]
    changed = [
        Change(key, "changed", _members(before[key], after[key]), segment)
        for key in after
        if key in before and _members(before[key], after[key])
    ]
    removed = [Change(key, "removed", segment=segment) for key in before if key not in after]
    return (*added, *changed, *removed)


def _members(before: Definition, after: Definition) -> tuple[str, ...]:
    return tuple(
        name for name in {**before, **after} if not _same(before.get(name, _NOTHING), after.get(name, _NOTHING))
    )


_NOTHING = object()


def _same(one: Any, other: Any) -> bool:
    """Order within a member counts, as that of variants does in a document; 1 and true are two things."""
    if one is _NOTHING or other is _NOTHING:
        return one is other
    return msgspec.json.encode(one) == msgspec.json.encode(other)
