"""Contexts made to cost memory, and Python objects that do not behave: each is answered for what it is worth."""

from __future__ import annotations

import json
import resource
from collections import UserDict
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from engine import Snapshot, error_code_of
from tests.engine.environments import everything, snapshot_of

ON = {"type": "boolean", "variants": {"on": True, "off": False}, "fallthrough": "off"}


def of(when: str) -> Snapshot:
    return snapshot_of({"flags": {"a": ON | {"rules": [{"when": when, "serve": "on"}]}}})


def peak() -> int:
    """MiB that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


MANY_MEMBERS = b"{" + b",".join(b'"%02d":0' % i for i in range(25)) + b"}"
BODIES = {
    "objects with a table of names each": b'{"context":{"y":[' + b",".join([MANY_MEMBERS] * 40_000) + b"]}}",
    "lists in a list that is kept": b'{"context":{"x":[' + b",".join([b"[1]"] * 2_000_000) + b"]}}",
    "objects in a list that is kept": b'{"context":{"x":[' + b",".join([b'{"b":1}'] * 1_000_000) + b"]}}",
    "lists in lists that are kept": b'{"context":{"x":[' + b",".join([b"[" + b"[1]," * 4000 + b"1]"] * 400) + b"]}}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_memory_is_in_proportion_to_a_context_of_the_size_that_is_allowed(body: bytes) -> None:
    snapshot = of("x.exists(e, e.b == 1)")
    before = peak()
    assert b"a context of more than 1 MiB, at byte 11" in snapshot.evaluate_json(body)
    batch = b'{"contexts":[' + body.partition(b":")[2][:-1] + b"]}"
    assert b"contexts[0]: a context of more than 1 MiB, at byte 13" in snapshot.evaluate_batch(batch)
    assert peak() - before < 200


@pytest.mark.parametrize(
    "when",
    [
        "tags.exists(t, lower(t) == lower(title))",
        "tags.exists(t, lower(title) == t)",
        'parts.exists(p, tags.exists(t, p.s == t && lower(p.s).endsWith("x")))',
    ],
)
def test_lowered_texts_inside_quantifiers_are_given_back(when: str) -> None:
    snapshot = of(when)
    context: dict[str, Any] = {"title": "A" * 400_000, "tags": ["b" * 70] * 4000}
    if "parts" in when:
        context = {"tags": ["b" * 5_000] * 60, "parts": [{"s": "b" * 5_000}] * 100}
    before = peak()
    assert snapshot.evaluate("a", context).value is False
    assert snapshot.evaluate_json(json.dumps({"context": context}).encode()).count(b"false") == 1
    assert peak() - before < 100


def test_prepared_contexts_do_not_grow() -> None:
    snapshot = of('tags.exists(t, lower(t).contains("z") && timestamp(t) < now)')
    prepared = snapshot.prepare({"tags": ["A" * 10_000] * 20})
    before = peak()
    for now in range(2_000):
        assert snapshot.evaluate("a", prepared, now=now).value is False
    assert peak() - before < 50


@pytest.mark.parametrize(
    ("when", "context", "value"),
    [
        ("lower(a) == lower(b)", {"a": "GRün", "b": "grün"}, True),
        ("lower(a) == b", {"a": "ABC", "b": "abc"}, True),
        ("lower(a) == b", {"a": "ABC", "b": "ABC"}, False),
        ("a == lower(b)", {"a": "abc", "b": "ABC"}, True),
        ("lower(a) < lower(b)", {"a": "AB", "b": "abC"}, True),
        ("lower(a) < lower(b)", {"a": "aBC", "b": "ab"}, False),
        ("lower(a) < lower(b)", {"a": "_", "b": "A"}, True),
        ("a < b", {"a": "_", "b": "A"}, False),
        ("lower(a) >= lower(b)", {"a": "\u00e9", "b": "Z"}, True),
        ("lower(a) == lower(b)", {"a": "", "b": ""}, True),
        ("lower(a) == lower(b)", {"a": 1, "b": 1}, False),
        ('s.contains("")', {"s": ""}, True),
        ('s.contains("ab")', {"s": "aab"}, True),
        ('s.contains("ab")', {"s": "a"}, False),
        ('s.contains("a\\u0000b")', {"s": "xa\0b"}, True),
        ("l.exists(e, e in [3, 1, 2.5])", {"l": [0, 2.5]}, True),
        ("l.exists(e, e in [3, 1, 2.5])", {"l": [0, 2, 4, "1", True]}, False),
        ("l.exists(e, e in [0, -1])", {"l": [-0.0]}, True),
    ],
)
def test_texts_and_numbers_as_predicates_compare_them(when: str, context: dict[str, Any], value: bool) -> None:
    snapshot = of(when)
    assert snapshot.evaluate("a", context).value is value
    assert json.loads(snapshot.evaluate_json(json.dumps({"context": context}).encode(), "a"))["value"] is value
    assert snapshot.explain("a", context).value is value


# Python objects that are not what they say


class Liar(list[Any]):
    def __len__(self) -> int:
        return 1000


class Grown(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(range(5000))


class Mapped(UserDict[str, Any]):
    def __len__(self) -> int:
        return 100


def test_containers_that_lie_about_their_length() -> None:
    snapshot = of("x.exists(e, e.b == 1) || 1 in y")
    assert snapshot.evaluate("a", {"x": Liar(), "y": Liar([2])}).value is False
    assert snapshot.evaluate("a", {"x": Grown([1]), "y": Grown([1])}).value is False
    assert snapshot.evaluate("a", {"x": [Mapped(b=1)]}).value is True
    assert snapshot.evaluate("a", {"x": [{1: 2, "\ud800": 1, "b": 1}]}).value is True


class Raising(UserDict[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no")


def test_what_a_mapping_raises_is_raised_and_leaves_nothing_behind() -> None:
    snapshot = everything()
    for _ in range(10):
        with pytest.raises(RuntimeError, match="no"):
            snapshot.evaluate_all(Raising(country="DE"))
        with pytest.raises(RuntimeError, match="no"):
            snapshot.prepare(Raising(country="DE"))
    assert snapshot.evaluate("constant", {}).value == "A"


class Reentrant(UserDict[str, Any]):
    """Asks the same snapshot while it is being asked."""

    snapshot: Snapshot

    def get(self, key: str, default: Any = None) -> Any:
        self.snapshot.evaluate_all({"country": "FR", "targetingKey": "other"})
        return super().get(key, default)


def test_evaluations_inside_evaluations() -> None:
    snapshot = everything()
    plain = {"country": "DE", "targetingKey": "u-1", "email": "a@example.com", "app": {"version": "2.4.0"}}
    context = Reentrant(plain)
    context.snapshot = snapshot
    assert snapshot.evaluate_all(context, now=0) == snapshot.evaluate_all(plain, now=0)


class Impostor:
    """Equal to a flag's key, with the same hash; and a name of its own."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return self.key == other

    def encode(self, *_: object) -> bytes:
        return b"x" * 100_000


def test_flag_keys_of_other_types() -> None:
    snapshot = everything()
    impostor: Any = Impostor("checkout")
    with pytest.raises(TypeError):
        snapshot.evaluate_json(b"{", impostor)
    for key in (1, b"checkout", None, ["checkout"]):
        with pytest.raises(TypeError):
            snapshot.evaluate(key, {})  # type: ignore[arg-type]
    assert error_code_of(snapshot.evaluate_json(b'{"context":{}}', "x" * 1000)) == "FLAG_NOT_FOUND"
    assert error_code_of(snapshot.evaluate_json(b'{"context":{}}', '\ud800"\0é')) == "FLAG_NOT_FOUND"


def test_no_such_flag_for_a_prepared_context() -> None:
    snapshot = everything()
    assert snapshot.evaluate("none", snapshot.prepare({})).error_code == "FLAG_NOT_FOUND"


def test_integers_of_any_size_as_messagepack() -> None:
    integers = [0, -1, -32, -33, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 + 1, 2**63, 2**64 - 1]
    integers += [-128, -129, -(2**31) - 1, -(2**53) - 1, -(2**63)]
    value: dict[str, Any] = {"fit": integers, "beyond": [2**64, -(2**63) - 1, 10**30, 1.5, -0.0, 1e300]}
    snapshot = snapshot_of({"flags": {"a": {"type": "object", "variants": {"v": value}, "fallthrough": "v"}}})
    reply = msgspec.msgpack.decode(snapshot.evaluate_batch(b'{"contexts":[{}]}', encoding="msgpack"))
    found = reply["results"][0]["flags"][0]["value"]
    assert found["fit"] == integers and all(type(n) is int for n in found["fit"])
    assert found["beyond"] == [float(n) for n in value["beyond"]]


def test_an_explanation_says_when() -> None:
    untimed = of('country == "DE"')
    assert untimed.explain("a", {}).now > 1_600_000_000_000
    assert untimed.explain("a", {}, now=5).now == 5


def test_quantifiers_inside_quantifiers_give_up() -> None:
    """A condition that would hold the process for seconds is unknown instead, whatever asks for it."""
    conditions = {
        "regex": "a.exists(x, b.exists(y, y.n == x.m && y.s.matches('q+$')))",
        "lower": "a.exists(x, b.exists(y, y.n == x.m && lower(y.s).contains('q')))",
        "negated": "!a.exists(x, b.exists(y, y.n == x.m && y.s.matches('q+$')))",
    }
    switch = {"type": "boolean", "variants": {"on": True, "off": False}, "fallthrough": "off"}
    flags = {key: {**switch, "rules": [{"when": when, "serve": "on"}]} for key, when in conditions.items()}
    snapshot = snapshot_of({"flags": flags})
    context = {"a": [{"m": 1}] * 4096, "b": [{"n": 1, "s": "x" * 10_000}] * 63 + [{"n": 2, "s": ""}]}
    small = {"a": [{"m": 1}] * 4, "b": context["b"]}
    found = json.loads(snapshot.evaluate_json(json.dumps({"context": context}).encode()))
    assert [each["value"] for each in found["flags"]] == [False, False, False]
    assert {key for key, each in snapshot.evaluate_all(context).items() if each.value} == set()
    assert {key for key, each in snapshot.evaluate_all(small).items() if each.value} == {"negated"}
