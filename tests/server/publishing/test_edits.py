"""What a new version does to an environment, done to the working copy: that environment follows, the others stay."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.control.publishing.documents import OVERRIDABLE, Document, Part, overridden, packed, resolved, unpacked
from server.control.publishing.edits import edits_for
from server.record.definitions import Kind
from tests.documents import make_world
from tests.server.publishing.flags import switch, text

NAMES = ("production", "staging")


def full(kind: Kind, body: dict[str, Any], environment: str) -> dict[str, Any]:
    """With what stands where nothing is written."""
    return {**OVERRIDABLE[kind], **resolved(kind, body, environment)}


def varied(parts: dict[Part, bytes], rng: random.Random) -> dict[Part, bytes]:
    """Some of them changed, some gone, one new."""
    found: dict[Part, bytes] = {}
    for part, body in parts.items():
        what = rng.random()
        if what < 0.1:
            continue
        flag = unpacked(body)
        if part[0] == "flag" and what < 0.7:
            for member, value in (("enabled", False), ("rules", []), ("description", "new"), ("clientVisible", True)):
                if rng.random() < 0.4:
                    where = flag if rng.random() < 0.5 or member not in OVERRIDABLE["flag"] else None
                    if where is None:
                        where = flag.setdefault("environments", {}).setdefault(rng.choice(NAMES), {})
                    where[member] = value
        found[part] = packed(flag)
    found["flag", f"new-{rng.randrange(3)}"] = packed(switch())
    return found


@given(st.integers(0, 2**32))
def test_what_was_not_edited_is_as_the_version_and_other_environments_are_as_they_were(seed: int) -> None:
    rng = random.Random(seed)
    world = make_world(rng).document
    parts: dict[Part, bytes] = {("flag", key): packed(body) for key, body in world["flags"].items()}
    parts |= {("segment", key): packed(body) for key, body in world.get("segments", {}).items()}
    before, after = Document(NAMES, varied(parts, rng)), Document(NAMES, varied(parts, rng))
    edits = edits_for(before, after, "production", before.parts, NAMES)
    working = {**before.parts, **edits.put}
    for part, body in after.parts.items():
        mine, theirs = unpacked(working[part]), unpacked(body)
        here, there = full(part[0], mine, "production"), full(part[0], theirs, "production")
        here.pop("variants", None), there.pop("variants", None)  # those of both stay
        assert here == there
        assert theirs.get("variants", {}).items() <= mine.get("variants", {}).items()
    for part, body in before.parts.items():
        then, now = full(part[0], unpacked(body), "staging"), full(part[0], unpacked(working[part]), "staging")
        assert {each: then[each] for each in OVERRIDABLE[part[0]]} == {each: now[each] for each in OVERRIDABLE[part[0]]}
        if part not in after.parts and part[0] == "flag":
            assert full("flag", unpacked(working[part]), "production")["enabled"] is False


def test_unpublished_edits_of_other_members_stay() -> None:
    before = Document(NAMES, {("flag", "a"): packed(text("one"))})
    after = Document(NAMES, {("flag", "a"): packed(text("one", environments={"production": {"enabled": False}}))})
    edited = text("two", rules=[{"when": "beta", "serve": "b"}], environments={"production": {"fallthrough": "b"}})
    edits = edits_for(before, after, "production", {("flag", "a"): packed(edited)}, NAMES)
    wanted = {**edited, "environments": {"production": {"fallthrough": "b", "enabled": False}}}
    assert unpacked(edits.put["flag", "a"]) == wanted


def test_nothing_is_said_of_an_environment_that_is_gone() -> None:
    old = switch(environments={"production": {"enabled": True}, "gone": {"enabled": False}})
    after = Document((*NAMES, "gone"), {("flag", "a"): packed(old)})
    edits = edits_for(Document(NAMES, {}), after, "production", {}, NAMES)
    assert unpacked(edits.put["flag", "a"])["environments"] == {"production": {"enabled": True}}


@pytest.mark.parametrize("kind", ["flag", "segment"])
def test_an_override_says_only_what_is_different(kind: Kind) -> None:
    body = {"environments": {"production": dict(OVERRIDABLE[kind]), "staging": {"when": None}}}
    assert overridden(kind, body, "production", {}) == {"environments": {"staging": {"when": None}}}
