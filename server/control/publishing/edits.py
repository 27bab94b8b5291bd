"""What a rollback, a promotion or a kill does to an environment, done to the working copy too, so that it stays.

    checkout was {"enabled": true} in production and is {"enabled": false}   ->   the working copy's checkout has
    {…, "environments": {"production": {"enabled": false}}}, and staging is as it was

Only members that the new version changes are touched, so what is edited and not yet published stays. An environment
replaces what it may; what all environments share (type, variants, …) becomes the new version's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from server.control.publishing.documents import OVERRIDABLE, Document, Part, overridden, packed, resolved, unpacked
from server.record.definitions import FLAG, Edits


def edits_for(
    before: Document, after: Document, environment: str, working: Mapping[Part, bytes], names: tuple[str, ...]
) -> Edits:
    """`working`: the working copy of at least the parts that differ; `names`: the environments there are now."""
    put: dict[Part, bytes] = {}
    for part in touched_parts(before, after, environment):
        now, wanted = working.get(part), after.parts.get(part)
        if wanted is None:
            if now is not None and part[0] == FLAG:
                put[part] = _disabled(unpacked(now), environment)
        elif now is None:
            put[part] = _known_only(unpacked(wanted), names)
        else:
            old = before.parts.get(part)
            put[part] = _like(part, unpacked(now), unpacked(wanted), unpacked(old) if old else {}, environment)
    return Edits({part: body for part, body in put.items() if working.get(part) != body})


def touched_parts(before: Document, after: Document, environment: str) -> tuple[Part, ...]:
    found = []
    for part in sorted(before.parts.keys() | after.parts.keys()):
        old, new = before.parts.get(part), after.parts.get(part)
        if old == new:
            continue
        name = environment
        if (
            old is None
            or new is None
            or resolved(part[0], unpacked(old), name) != resolved(part[0], unpacked(new), name)
        ):
            found.append(part)
    return tuple(found)


def _like(part: Part, now: dict[str, Any], wanted: dict[str, Any], before: dict[str, Any], environment: str) -> bytes:
    """The working copy's part, with what is other in `wanted` than in `before`."""
    kind = part[0]
    was, will = resolved(kind, before, environment), resolved(kind, wanted, environment)
    changed = {each for each in was.keys() | will.keys() if was.get(each, UNSET) != will.get(each, UNSET)}
    shared = changed - OVERRIDABLE[kind].keys()
    body = {member: value for member, value in now.items() if member not in shared}
    body |= {member: wanted[member] for member in shared if member in wanted}
    if kind == FLAG and now.get("type") == wanted.get("type"):
        # Others may serve variants of the working copy, and this environment those of the version: both stay.
        mine, theirs = now.get("variants", {}), wanted.get("variants", {})
        body["variants"] = {**mine, **theirs} if "variants" in shared else {**theirs, **mine}
    here = resolved(kind, body, environment)
    for member in changed & OVERRIDABLE[kind].keys():
        here[member] = will.get(member, OVERRIDABLE[kind][member])
    return packed(overridden(kind, body, environment, here))


def _disabled(now: dict[str, Any], environment: str) -> bytes:
    """The version does not have it, other environments may: here it is off."""
    wanted = {**resolved(FLAG, now, environment), "enabled": False}
    return packed(overridden(FLAG, now, environment, wanted))


def _known_only(wanted: dict[str, Any], names: tuple[str, ...]) -> bytes:
    """Without what it says of environments that are gone."""
    if "environments" not in wanted:
        return packed(wanted)
    kept = {name: each for name, each in wanted["environments"].items() if name in names}
    own = {member: value for member, value in wanted.items() if member != "environments"}
    return packed({**own, "environments": kept} if kept else own)
