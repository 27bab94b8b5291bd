"""What a snapshot says it has answered is what its replies say."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
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
CONTEXTS: list[dict[str, Any]] = [{"targetingKey": f"u-{i}", "country": "DE"} for i in range(9)] + [{}]

Counts = Counter[tuple[str, str | None]]


def taken(snapshot: Snapshot) -> Counts:
    found = snapshot.take_counts()
    counts: Counts = Counter({(key, variant): n for key, variant, n in found})
    assert len(counts) == len(found)
    assert all(n > 0 for n in counts.values())
    return counts


def counted(answers: list[dict[str, Any]]) -> Counts:
    return Counter(
        (answer["key"], answer.get("variant")) for answer in answers if answer.get("errorCode") != "FLAG_NOT_FOUND"
    )


def evaluations(way: str, answers: list[dict[str, Any]]) -> int:
    """A flag that does not exist is work in a batch only."""
    return len(answers) if way.startswith("batch") else counted(answers).total()


@pytest.mark.parametrize("stale", [None, 90])
@settings(max_examples=1000 if NIGHTLY else 60)
@given(rng=st.randoms(use_true_random=False))
def test_generated(stale: int | None, rng: random.Random) -> None:
    world = make_world(rng, 4)
    environment = rng.choice(world.document.get("environments", [None]))
    assume(not asks_too_much(world, environment))
    snapshot = Snapshot.from_bytes(compile_flags(world.document, environment=environment))
    snapshot.start_counting()
    contexts = [make_context(world, rng) for _ in range(3)]
    total: Counts = Counter()
    for client in (False, True):
        for ask in asks(snapshot, contexts, client=client, now=make_now(world, rng)):
            before = snapshot.evaluated
            answers = entries(ask.decoded(stale=stale))
            assert snapshot.evaluated - before == evaluations(ask.way, answers), ask.way
            total += counted(answers)
            if rng.random() < 0.8:  # now and then, what several calls add up to
                assert taken(snapshot) == total, ask.way
                total.clear()
    assert taken(snapshot) == total
    assert snapshot.take_counts() == []


@pytest.mark.parametrize("client", [False, True])
def test_everything(client: bool) -> None:
    snapshot = everything()
    snapshot.start_counting()
    for ask in asks(snapshot, CONTEXTS, client=client, now=0):
        answers = entries(ask.decoded())
        assert taken(snapshot) == counted(answers), ask.way


def test_by_hand() -> None:
    snapshot = everything()
    snapshot.start_counting()
    snapshot.evaluate_json(b'{"context":{}}', now=0)
    snapshot.evaluate_json(b'{"context":{"country":"FR"}}', "checkout", now=0)
    assert snapshot.take_counts() == [
        ("constant", "a", 1),
        ("disabled", "off", 1),
        ("code-default", None, 1),
        ("payments", "on", 1),
        ("checkout", "old", 1),
        ("checkout", None, 1),
        ("limits", None, 1),
    ]
    assert snapshot.evaluated == 7


def test_nothing_is_counted_before_it_is_asked_for() -> None:
    snapshot = everything()
    snapshot.evaluate_json(BODY)
    assert snapshot.take_counts() == []
    snapshot.start_counting()
    assert snapshot.take_counts() == []
    snapshot.evaluate_json(BODY, "constant")
    snapshot.start_counting()  # again: no other start
    snapshot.evaluate_json(BODY, "constant", client=True)  # not visible: as if it did not exist
    assert snapshot.take_counts() == [("constant", "a", 1)]
    assert snapshot.evaluated == len(snapshot) + 1


def test_python_calls_are_not_counted() -> None:
    snapshot = everything()
    snapshot.start_counting()
    snapshot.evaluate("constant", {})
    snapshot.evaluate_all({})
    assert snapshot.take_counts() == []
    assert snapshot.evaluated == 0


def test_an_answer_that_is_not_given_is_not_counted() -> None:
    snapshot = everything()
    etag, _ = snapshot.evaluate_json_if_changed(BODY, None, now=0)
    snapshot.start_counting()
    before = snapshot.evaluated
    assert snapshot.evaluate_json_if_changed(BODY, etag, now=0) == (etag, None)
    for broken in (b"{}", b"{", b'{"context":[]}', b'{"context":{"a":1,"a":2}}', b" " * (16 << 20) + BODY):
        snapshot.evaluate_json(broken)
        snapshot.evaluate_json(broken, "constant")
        snapshot.evaluate_json_if_changed(broken, None)
        snapshot.evaluate_batch(broken)
    snapshot.evaluate_json(BODY, "no-such-flag")
    snapshot.evaluate_batch(b'{"contexts":[{"country":"DE"},{"a":1,"a":2}]}')
    snapshot.evaluate_batch(json.dumps({"contexts": [{}] * 10_000, "flags": ["constant"] * 201}).encode())
    assert snapshot.take_counts() == []
    assert snapshot.evaluated == before


@pytest.mark.parametrize("named", [False, True])
def test_a_batch_that_is_refused_late_is_not_counted(named: bool) -> None:
    """Its reply turns out to be too large when many of its contexts are evaluated."""
    flags = {
        "constant": {"type": "boolean", "variants": {"on": True}, "fallthrough": "on"},
        "big": {
            "type": "string",
            "variants": {"large": "x" * 60_000, "small": ""},
            "rules": [{"when": "large", "serve": "large"}],
            "fallthrough": "small",
        },
    }
    snapshot = snapshot_of({"flags": flags})
    snapshot.start_counting()
    snapshot.evaluate_json(BODY, "big")
    request: dict[str, Any] = {"flags": ["big", "constant"]} if named else {}
    small: list[dict[str, bool]] = [{}] * 2_000
    large = [{"large": True}] * 2_000
    refused = json.loads(snapshot.evaluate_batch(json.dumps(request | {"contexts": small + large}).encode()))
    assert "32 MiB" in refused["errorDetails"]
    assert snapshot.evaluated == 1
    assert taken(snapshot) == {("big", "small"): 1}
    reply = json.loads(snapshot.evaluate_batch(json.dumps(request | {"contexts": small + large[:9]}).encode()))
    assert len(reply["results"]) == 2_009
    assert taken(snapshot) == {("big", "small"): 2_000, ("big", "large"): 9, ("constant", "on"): 2_009}
    assert snapshot.evaluated == 1 + 2 * 2_009


def test_outcomes_of_one_variant_are_one_count() -> None:
    """By its rule, its fallthrough, its split, and as the off variant of two prerequisites."""
    on: dict[str, Any] = {"type": "boolean", "variants": {"on": True, "off": False}}
    rules = [{"when": "r", "serve": "on"}, {"when": "s", "serve": {"split": [{"variant": "on", "weight": 100}]}}]
    flags = {
        "p": on | {"rules": [{"when": "p", "serve": "off"}], "fallthrough": "on"},
        "q": on | {"rules": [{"when": "q", "serve": "off"}], "fallthrough": "on"},
        "f": on
        | {
            "offVariant": "on",
            "prerequisites": [{"flag": "p", "variants": ["on"]}, {"flag": "q", "variants": ["on"]}],
            "rules": rules,
            "fallthrough": "on",
        },
    }
    snapshot = snapshot_of({"flags": flags})
    snapshot.start_counting()
    reasons = set()
    for member in "pqrsx":
        body = json.dumps({"context": {member: True, "targetingKey": "u"}}).encode()
        answer = json.loads(snapshot.evaluate_json(body, "f"))
        reasons.add((answer["reason"], answer["metadata"].get("prerequisite")))
    assert len(reasons) == 5
    assert snapshot.take_counts() == [("f", "on", 5)]
