"""What is different between two documents, by flag and segment, and within them by member.

    differences(before, after, "production")

becomes

    (Change("flag", "checkout", "changed", (MemberChange("rules[0].when", before="beta", after="beta && adult"),)), …)

With an environment, what that one makes of each part is compared: a change for staging is none for production. Long
lists are counted, not shown: `include: 3 added, 1 removed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from server.control.publishing.documents import Document, Part, resolved, unpacked
from server.record.definitions import Kind

LARGEST_VALUE: Final = 2_000  # bytes of JSON of one that is shown
MOST_CHANGES: Final = 1_000  # parts that are shown by member
MOST_MEMBERS: Final = 100  # of one part

What = Literal["added", "removed", "changed"]


class MemberChange(msgspec.Struct, frozen=True, omit_defaults=True):
    place: str  # rules[0].when
    before: Any = UNSET  # neither: too long to show
    after: Any = UNSET
    added: int | UnsetType = UNSET  # elements of a long list
    removed: int | UnsetType = UNSET


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    kind: Kind
    key: str
    what: What
    members: tuple[MemberChange, ...] = ()


def differences(before: Document, after: Document, environment: str | None = None) -> tuple[Change, ...]:
    """In the order of kinds and keys."""
    changes: list[Change] = []
    for part in sorted(before.parts.keys() | after.parts.keys()):
        old, new = before.parts.get(part), after.parts.get(part)
        if old == new:
            continue
        what: What = "added" if old is None else "removed" if new is None else "changed"
        members: tuple[MemberChange, ...] = ()
        if old is not None and new is not None:
            was, now = _seen(part, old, environment), _seen(part, new, environment)
            if was == now:
                continue
            members = _members(was, now) if len(changes) < MOST_CHANGES else ()
        changes.append(Change(*part, what, members))
    return tuple(changes)


def _seen(part: Part, body: bytes, environment: str | None) -> dict[str, Any]:
    value = unpacked(body)
    return value if environment is None else resolved(part[0], value, environment)


def _members(before: dict[str, Any], after: dict[str, Any]) -> tuple[MemberChange, ...]:
    found: list[MemberChange] = []
    for change in _walk("", before, after):
        if len(found) == MOST_MEMBERS:
            break
        found.append(change)
    return tuple(found)


def _walk(place: str, before: Any, after: Any) -> Iterator[MemberChange]:
    if before == after and type(before) is type(after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            here = f"{place}.{name}" if place else name
            yield from _walk(here, before.get(name, UNSET), after.get(name, UNSET))
    elif (
        isinstance(before, list) and isinstance(after, list) and len(before) == len(after) and _is_short(before, after)
    ):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _walk(f"{place}[{index}]", old, new)
    elif _is_short(before, after):
        yield MemberChange(place, before, after)
    elif isinstance(before, list | UnsetType) and isinstance(after, list | UnsetType):
        old, new = _elements(before), _elements(after)
        yield MemberChange(place, added=len(new - old), removed=len(old - new))
    else:
        yield MemberChange(place)


def _is_short(*values: Any) -> bool:
    return all(value is UNSET or len(msgspec.json.encode(value)) <= LARGEST_VALUE for value in values)


def _elements(value: list[Any] | UnsetType) -> set[bytes]:
    return set() if isinstance(value, UnsetType) else {msgspec.json.encode(each) for each in value}
