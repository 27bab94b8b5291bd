"""Explanations: what they say of prerequisites, rules, conditions, operands and buckets, and how it reads.

That they agree with the engine on every generated pair is in tests/test_agreement.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine import Explanation, Snapshot, bucket_of, hash64
from engine.conditions import Condition
from rules_compiler import compile_flags

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z

DOCUMENT: dict[str, Any] = {
    "segments": {
        "staff": {"when": 'email.endsWith("@example.com")'},
        "beta": {"include": ["u-1"], "exclude": ["u-3"], "when": 'segment("staff")'},
    },
    "flags": {
        "live": {"type": "boolean", "variants": {"on": True, "off": False}, "rules": [{"when": "up", "serve": "on"}],
                 "fallthrough": "off"},
        "checkout": {
            "type": "string",
            "variants": {"old": "old", "new": "new-v2"},
            "offVariant": "old",
            "prerequisites": [{"flag": "live", "variants": ["on"]}],
            "rules": [
                {"id": "beta-users", "name": "Beta users", "serve": "new",
                 "when": 'segment("beta") && semver(app.version) >= semver("2.3.0")'},
                {"id": "rollout", "when": 'country in ["DE", "FR"]',
                 "serve": {"split": [{"variant": "new", "weight": 20}, {"variant": "old", "weight": 80}], "salt": "s"}},
                {"id": "never", "when": "age < 18", "serve": "old"},
            ],
            "fallthrough": "old",
        },
        "plain": {"type": "integer", "variants": {"one": 1}, "fallthrough": "one"},
        "dark": {"type": "integer", "variants": {"one": 1}, "enabled": False, "fallthrough": "one"},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return Snapshot.from_bytes(compile_flags(DOCUMENT))


def one(snapshot: Snapshot, context: dict[str, Any], flag: str = "checkout") -> Explanation:
    explanation = snapshot.explain(flag, context, now=NOW)
    json.dumps(explanation.to_dict(), allow_nan=False)
    assert explanation.render().startswith(f"{flag}: ")
    return explanation


def atoms(condition: Condition) -> list[Condition]:
    return [condition] if condition.seen else [atom for item in condition.items for atom in atoms(item)]


def looked_at(text: str, context: dict[str, Any]) -> Condition:
    """The condition of a flag with this one rule."""
    flag = {"type": "boolean", "variants": {"on": True}, "rules": [{"when": text, "serve": "on"}]}
    explanation = Snapshot.from_bytes(compile_flags({"flags": {"f": flag}})).explain("f", context, now=NOW)
    assert explanation.rules[0].text == text
    return explanation.rules[0].condition


def test_no_such_flag(snapshot: Snapshot) -> None:
    explanation = one(snapshot, {}, "nowhere")
    assert (explanation.decided_by, explanation.error_code) == ("no such flag", "FLAG_NOT_FOUND")
    assert explanation.render() == "nowhere: FLAG_NOT_FOUND\n  there is no flag `nowhere`\n"


def test_a_disabled_flag(snapshot: Snapshot) -> None:
    explanation = one(snapshot, {}, "dark")
    assert (explanation.decided_by, explanation.reason, explanation.variant) == ("disabled", "DISABLED", None)
    assert explanation.why == ("the flag is disabled", "there is no off variant: the caller's own default")


def test_nothing_to_decide(snapshot: Snapshot) -> None:
    explanation = one(snapshot, {}, "plain")
    assert (explanation.decided_by, explanation.reason, explanation.value) == ("fallthrough", "STATIC", 1)


def test_a_prerequisite_that_is_not_met(snapshot: Snapshot) -> None:
    explanation = one(snapshot, {"country": "DE", "targetingKey": "u-9"})
    assert (explanation.decided_by, explanation.variant) == ("prerequisite", "old")
    (step,) = explanation.prerequisites
    assert (step.flag, step.gave, step.wanted, step.met) == ("live", "off", ("on",), False)
    assert {rule.outcome for rule in explanation.rules} == {"not reached"}
    assert explanation.rules[1].truth == "true"  # shown all the same
    assert explanation.why[0] == "prerequisite `live` is not met: it gives `off`, not `on`"


def test_a_rule_with_a_segment(snapshot: Snapshot) -> None:
    explanation = one(snapshot, {"up": True, "targetingKey": "u-1", "app": {"version": "v2.4"}})
    assert (explanation.decided_by, explanation.variant, explanation.reason) == ("rule", "new", "TARGETING_MATCH")
    assert [rule.outcome for rule in explanation.rules] == ["matched", "not reached", "not reached"]
    condition = explanation.rules[0].condition
    assert condition.text == 'segment("beta") && semver(app.version) >= semver("2.3.0")'
    segment, version = condition.items
    assert (segment.node, segment.text, segment.truth) == ("segment", 'segment("beta")', "true")
    assert [(seen.operand, seen.kind, seen.value) for seen in version.seen] == [
        ("semver(app.version)", "string", "v2.4")
    ]


def test_a_split(snapshot: Snapshot) -> None:
    explanation = one(snapshot, {"up": True, "targetingKey": "u-9", "country": "DE", "app": {"version": "latest"}})
    split = explanation.split
    assert split is not None and explanation.reason == "SPLIT"
    assert (split.by, split.key, split.salt) == ("targetingKey", "u-9", "s")
    assert (split.key_hash, split.salt_hash) == (f"{hash64(b'u-9'):016x}", f"{hash64(b's'):016x}")
    assert split.bucket == bucket_of("u-9", "s")
    assert split.ranges == ((0, 20_000, "new"), (20_000, 100_000, "old"))
    assert split.start is not None and split.end is not None and split.start <= split.bucket < split.end
    assert explanation.rules[0].outcome == "passed over"
    assert explanation.rules[1].split == split


def test_no_bucketing_key(snapshot: Snapshot) -> None:
    explanation = one(snapshot, {"up": True, "country": "DE"})
    assert (explanation.error_code, explanation.variant) == ("TARGETING_KEY_MISSING", None)
    assert explanation.split is not None and explanation.split.bucket is None
    assert "`targetingKey` is no bucketing key" in explanation.why[-1]


def test_the_fallthrough_and_why_no_rule_matched(snapshot: Snapshot) -> None:
    explanation = one(snapshot, {"up": True, "targetingKey": "u-3", "country": "IT", "age": "12"})
    assert (explanation.decided_by, explanation.variant, explanation.reason) == ("fallthrough", "old", "DEFAULT")
    assert [(rule.truth, rule.outcome) for rule in explanation.rules] == [
        ("false", "passed over"),
        ("false", "passed over"),
        ("unknown", "passed over"),
    ]
    assert explanation.why[-2:] == (
        'rule `never` did not match, its condition is unknown: `age` is "12", and a number is needed',
        "the fallthrough serves `old`",
    )
    assert 'country in ["DE", "FR"]' in explanation.render()


@pytest.mark.parametrize(
    "text, context, truth, why",
    [
        ('a == "x"', {"a": "y"}, "false", '`a` is "y", not "x"'),
        ('a == "x"', {}, "unknown", "`a` is missing"),
        ('a == "x"', {"a": None}, "unknown", "`a` is missing"),
        ('a == "x"', {"a": 1}, "unknown", "`a` is 1, and a string is needed"),
        ("a > 1", {"a": 2**60}, "unknown", "`a` is a value that cannot be compared (1152921504606846976)"),
        ("a > 1", {"a": 2}, "true", "`a` is 2"),
        ("has(a.b)", {"a": 1}, "false", "`a.b` is missing"),
        ('semver(a) > semver("1")', {"a": "latest"}, "unknown", '`a` is "latest", and a version is needed'),
        ('lower(a) == "x"', {"a": "X"}, "true", '`lower(a)` is "x"'),
        ("size(a) == 2", {"a": ["p"]}, "false", None),
        ('"x" in a', {"a": ["y"]}, "false", '`a` is ["y"]'),
        ('"x" in a', {"a": "x"}, "unknown", '`a` is "x", and a list is needed'),
        ('ip(a) in cidr("10.0.0.0/8")', {"a": "11.0.0.1"}, "false", '`a` is "11.0.0.1"'),
        ("timestamp(a) < now", {"a": 0}, "true", None),
        ("a == b", {"a": 1, "b": "1"}, "unknown", '`a` is 1 and `b` is "1": not to be compared'),
    ],
)
def test_why_an_atom_is_so(text: str, context: dict[str, Any], truth: str, why: str | None) -> None:
    condition = looked_at(text, context)
    assert condition.truth == truth
    assert why is None or condition.why == why
    assert all(seen.operand for seen in condition.seen)


def test_elements_of_a_list() -> None:
    condition = looked_at('devices.exists(d, d.os == "ios" && d.year > 2020)', {"devices": [
        {"os": "android"}, {"os": "ios"}, {"os": "ios", "year": 2021}, {"os": "ios", "year": 2025}]})  # fmt: skip
    assert condition.truth == "true"
    assert [item.truth for item in condition.items] == ["false", "unknown", "true"]  # the fourth is not looked at
    assert condition.why.startswith("x = devices[2]: ")


def test_a_long_list_is_cut_short() -> None:
    condition = looked_at('a.exists(x, x == "last")', {"a": [*(f"v{n}" for n in range(4000)), "last"]})
    assert condition.truth == "true"
    assert len(condition.items) < 20
    assert condition.items[-1].text == "x = a[4000]"
    assert len(json.dumps([seen.value for seen in condition.seen])) < 200


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value",
    [float("nan"), "\ud800", b"x", {1}, object(), [float("inf")], {"k": object()}, [2**70], {1: 2}, {(1, 2): 3}, LOOP],
)
def test_values_that_json_cannot_write(value: Any) -> None:
    snapshot = Snapshot.from_bytes(compile_flags(DOCUMENT))
    one(snapshot, {"up": True, "country": value, "email": value, "app": value, "age": value, "targetingKey": value})
