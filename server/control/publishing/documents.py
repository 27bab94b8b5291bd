"""A whole document in its parts, and what one environment makes of a part.

    taken_apart(b'{"environments":["a"],"flags":{"x":{…}},"segments":{}}')
    ->  Document(("a",), {("flag", "x"): b"{…}"})

    resolved("flag", {"enabled": true, "environments": {"a": {"enabled": false}}}, "a")   ->   {"enabled": False}

Parts are canonical JSON, as in the record, so equal parts are equal bytes and only what differs is looked into.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from server.record.audit import canonical
from server.record.definitions import FLAG, SEGMENT, Kind, digest_of, joined

Part = tuple[Kind, str]  # "flag" or "segment", and its key

# What an environment may replace, and what stands where nothing is written. docs/flag-documents.md.
OVERRIDABLE: Final[Mapping[Kind, Mapping[str, Any]]] = {
    FLAG: {"enabled": True, "offVariant": None, "prerequisites": [], "rules": [], "fallthrough": None},
    SEGMENT: {"include": [], "exclude": [], "when": None},
}


@dataclass(frozen=True, slots=True)
class Document:
    environments: tuple[str, ...]
    parts: Mapping[Part, bytes]

    def content(self) -> bytes:
        return joined(self.environments, self.parts)

    def with_parts(self, put: Mapping[Part, bytes], removed: frozenset[Part] = frozenset()) -> Document:
        kept = {part: body for part, body in self.parts.items() if part not in removed}
        return Document(self.environments, {**kept, **put})

    @property
    def digest(self) -> str:
        return digest_of(self.content())


class _Whole(msgspec.Struct, frozen=True):
    environments: tuple[str, ...] = ("default",)
    flags: dict[str, msgspec.Raw] = {}
    segments: dict[str, msgspec.Raw] = {}


_whole = msgspec.json.Decoder(_Whole).decode


def taken_apart(content: bytes) -> Document:
    """Of canonical JSON that the record made."""
    whole = _whole(content)
    flags: dict[Part, bytes] = {(FLAG, key): bytes(raw) for key, raw in whole.flags.items()}
    return Document(whole.environments, flags | {(SEGMENT, key): bytes(raw) for key, raw in whole.segments.items()})


def resolved(kind: Kind, body: Mapping[str, Any], environment: str) -> dict[str, Any]:
    """As the environment has it: what it replaces is replaced, and nothing is said of any environment."""
    own = {member: value for member, value in body.items() if member != "environments"}
    override = (body.get("environments") or {}).get(environment, {})
    return own | {member: value for member, value in override.items() if member in OVERRIDABLE[kind]}


def overridden(kind: Kind, body: Mapping[str, Any], environment: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The body with what the environment has to replace to be as `wanted`, a resolved one; the others stay as they are.

    >>> overridden("flag", {"enabled": True}, "a", {"enabled": False})
    {'enabled': True, 'environments': {'a': {'enabled': False}}}
    """
    override = {
        member: wanted.get(member, default)
        for member, default in OVERRIDABLE[kind].items()
        if wanted.get(member, default) != body.get(member, default)
    }
    environments = {name: each for name, each in (body.get("environments") or {}).items() if name != environment}
    if override:
        environments[environment] = override
    own = {member: value for member, value in body.items() if member != "environments"}
    return {**own, "environments": environments} if environments else own


def packed(body: Mapping[str, Any]) -> bytes:
    return canonical(body)


def unpacked(body: bytes) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.json.decode(body)
    return value
