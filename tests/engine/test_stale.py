"""A stale answer is the fresh one with the reason STALE and its age; docs/http.md."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine import Snapshot
from rules_compiler import compile_flags
from tests.contexts import make_context, make_now
from tests.documents import make_world
from tests.engine.environments import everything, snapshot_of
from tests.engine.replies import asks, entries
from tests.test_agreement import asks_too_much

NIGHTLY = os.environ.get("BURGEE_PROFILE") == "nightly" or settings().max_examples >= 1000
BODY = b'{"context":{"targetingKey":"u-1","country":"DE"}}'

# Values and names that look like the members that are rewritten.
LOOKALIKES: list[Any] = [
    {"reason": "STATIC"},
    {"reason": "DEFAULT", "variant": "v", "metadata": {"reason": "DEFAULT"}},
    [{"key": "f", "value": 1, "variant": "on", "reason": "TARGETING_MATCH"}],
    {'"reason":"STATIC"': '"reason":"STATIC"', "variant": '","reason":"DISABLED"}'},
    {"a": {"reason": "SPLIT"}, "reason": "DISABLED"},
]


def staled(fresh: Any, age: int) -> Any:
    """The oracle: the reply as it is once it is stale."""
    if "flags" not in fresh and "results" not in fresh:
        return _aged(_stale(fresh), age) if "metadata" in fresh else fresh
    lists: dict[str, Callable[[Any], Any]] = {
        "flags": lambda flags: [_stale(entry) if isinstance(entry, dict) else entry for entry in flags],
        "outcomes": lambda outcomes: [[_stale(entry) for entry in each] for each in outcomes],
        "results": lambda rows: [
            {"flags": [_stale(entry) for entry in row["flags"]]} if isinstance(row, dict) else row for row in rows
        ],
        "metadata": lambda metadata: metadata | {"ageSeconds": age},
    }
    return {name: lists[name](content) for name, content in fresh.items()}


def _stale(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {"reason": "STALE"} if "reason" in entry else entry


def _aged(entry: dict[str, Any], age: int) -> dict[str, Any]:
    return entry | {"metadata": entry["metadata"] | {"ageSeconds": age}}


def assert_stale_as_fresh(snapshot: Snapshot, contexts: list[dict[str, Any]], now: int, age: int) -> None:
    for client in (False, True):
        for ask in asks(snapshot, contexts, client=client, now=now):
            expected, found = staled(ask.decoded(), age), ask.decoded(stale=age)
            assert json.dumps(found) == json.dumps(expected), ask.way  # the order of members, too
            for entry in entries(found):
                assert ("errorCode" in entry) != (entry.get("reason") == "STALE"), ask.way


@settings(max_examples=1000 if NIGHTLY else 60)
@given(rng=st.randoms(use_true_random=False), age=st.integers(0, 2**53 - 1))
def test_generated(rng: random.Random, age: int) -> None:
    world = make_world(rng, 4)
    environment = rng.choice(world.document.get("environments", [None]))
    assume(not asks_too_much(world, environment))
    snapshot = Snapshot.from_bytes(compile_flags(world.document, environment=environment, version=7))
    assert_stale_as_fresh(snapshot, [make_context(world, rng) for _ in range(3)], make_now(world, rng), age)


def test_everything() -> None:
    contexts: list[dict[str, Any]] = [{}, {"targetingKey": "u-1", "country": "DE"}, {"account": {"id": 7}}]
    assert_stale_as_fresh(everything(), contexts, 0, 0)


def test_what_is_in_values_and_names_is_not_touched() -> None:
    variants = {f"v{i}": value for i, value in enumerate(LOOKALIKES)}
    rules = [{"when": f"n == {i}", "serve": f"v{i}"} for i in range(len(LOOKALIKES))]
    flag = {"type": "object", "variants": variants}
    gate = {"type": "boolean", "variants": {"STATIC": True, "reason": False}, "rules": [], "fallthrough": "reason"}
    flags: dict[str, Any] = {
        f"constant-{i}": flag | {"fallthrough": f"v{i}"} | ({"enabled": False, "offVariant": f"v{i}"} if i % 2 else {})
        for i in range(len(LOOKALIKES))
    }
    flags["ruled"] = flag | {"rules": rules, "fallthrough": "v0"}
    flags["split"] = flag | {
        "fallthrough": {"split": [{"variant": "v1", "weight": 50}, {"variant": "v4", "weight": 50}]}
    }
    flags["reason"] = gate
    flags["behind"] = flag | {"prerequisites": [{"flag": "reason", "variants": ["STATIC"]}], "offVariant": "v3"}
    flags["text"] = {"type": "string", "variants": {"variant": '"reason":"STATIC"'}, "fallthrough": "variant"}
    contexts: list[dict[str, Any]] = [{"n": i, "targetingKey": f"u-{i}"} for i in range(len(LOOKALIKES) + 1)]
    for chosen in (flags, {key: flag for key, flag in flags.items() if key != "behind"}):
        snapshot = snapshot_of({"flags": chosen}, version=3)
        assert_stale_as_fresh(snapshot, contexts, 0, 7)
    snapshot = snapshot_of({"flags": flags})
    snapshot.start_counting()
    answers = [
        json.loads(snapshot.evaluate_json(json.dumps({"context": context}).encode(), stale=1)) for context in contexts
    ]
    told = {(entry["key"], entry.get("variant")) for answer in answers for entry in answer["flags"]}
    assert {(key, variant) for key, variant, _ in snapshot.take_counts()} == told


def test_by_hand() -> None:
    snapshot = everything()
    assert snapshot.evaluate_json(b'{"context":{}}', "checkout", stale=61, now=0) == (
        b'{"key":"checkout","value":"old","variant":"old","reason":"STALE",'
        b'"metadata":{"flagSetId":"acme/shop/production","version":"17","ageSeconds":61}}'
    )
    unmet = snapshot.evaluate_json(b'{"context":{"created":0}}', "checkout", stale=61, now=0)
    assert json.loads(unmet)["metadata"] == {
        "cause": "PREREQUISITE_FAILED",
        "flagSetId": "acme/shop/production",
        "version": "17",
        "ageSeconds": 61,
    }


def test_an_error_stays_one() -> None:
    snapshot = everything()
    reply = json.loads(snapshot.evaluate_json(b'{"context":{}}', "limits", stale=61, now=0))
    assert reply["errorCode"] == "TARGETING_KEY_MISSING"
    assert "reason" not in reply
    assert reply["metadata"]["ageSeconds"] == 61
    for body, key in ((BODY, "no-such-flag"), (b"{}", "limits"), (b"{}", None)):
        assert snapshot.evaluate_json(body, key, stale=61) == snapshot.evaluate_json(body, key)
    assert snapshot.evaluate_batch(b"{}", stale=61) == snapshot.evaluate_batch(b"{}")


def test_the_etag_says_stale_and_not_since_when() -> None:
    snapshot = everything()

    def etag(**more: Any) -> str:
        return snapshot.evaluate_json_if_changed(BODY, None, now=0, **more)[0]

    fresh, stale = etag(), etag(stale=60)
    assert len({fresh, stale, etag(client=True), etag(client=True, stale=60)}) == 4
    assert etag(stale=None) == fresh
    assert etag(stale=0) == etag(stale=61) == stale
    assert snapshot.evaluate_json_if_changed(BODY, stale, now=0, stale=99) == (stale, None)
    assert snapshot.evaluate_json_if_changed(BODY, fresh, now=0, stale=99)[1] is not None
    assert snapshot.evaluate_json_if_changed(BODY, stale, now=0)[1] is not None


@pytest.mark.parametrize("age", [-1, 2**53, 2**200])
def test_an_age_is_what_json_can_say(age: int) -> None:
    snapshot = everything()
    for call in (
        lambda: snapshot.evaluate_json(BODY, stale=age),
        lambda: snapshot.evaluate_json(BODY, "constant", stale=age),
        lambda: snapshot.evaluate_json_if_changed(BODY, None, stale=age),
        lambda: snapshot.evaluate_batch(b'{"contexts":[]}', stale=age),
    ):
        with pytest.raises(ValueError, match="whole seconds"):
            call()
    assert snapshot.evaluated == 0
