"""Evaluating from Python: every kind of context, misuse, time, and what callers may do with an answer."""

from __future__ import annotations

import threading
from collections import ChainMap, OrderedDict, UserDict
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest

from engine import Evaluation, Snapshot
from engine.snapshot import PreparedContext
from tests.engine.environments import everything, snapshot_of
from tests.engine.test_reader import PROBES

SNAPSHOT = everything()
PROBE = snapshot_of(PROBES)


class Plan(StrEnum):
    BETA = "beta"


class Key(StrEnum):
    CONSTANT = "constant"


class One(IntEnum):
    ONE = 1


def true_of(value: Any) -> set[str]:
    found = PROBE.evaluate_all({"x": value})
    assert found == PROBE.evaluate_all(PROBE.prepare({"x": value}))
    for key in PROBE.flag_keys:
        assert PROBE.evaluate(key, {"x": value}) == found[key]
    return {key for key, evaluation in found.items() if evaluation.value}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (True, "has true"),
        (False, "has"),
        (1, "has one"),
        (1.0, "has one"),
        (One.ONE, "has one"),
        (-0.0, "has small"),
        (2**53 - 1, "has large"),
        (2**53, "has"),
        (-(2**53), "has"),
        (10**40, "has"),
        (float(2**60), "has large"),
        (float("nan"), "has"),
        (float("inf"), "has"),
        (float("-inf"), "has"),
        ("a", "has a"),
        ("\0", "has nul"),
        ("\U0001f600", "has emoji"),
        ("äöü", "has three"),
        ("\ud800", "has"),
        ("ab\ud800", "has"),
        (b"a", "has"),
        (Decimal(1), "has"),
        (1j, "has"),
        pytest.param(object(), "has", id="an object"),
        ([1, 2, 3], "has three"),
        ((1, 2, 3), "has three"),
        ([0] * 4096, "has"),
        ([0] * 4097, "has"),
        ({"a": 1, "b": None, "c": []}, "has three"),
        ({"y": 1}, "has deep"),
        (OrderedDict(y=1), "has deep"),
        (MappingProxyType({"y": 1}), "has deep"),
        (UserDict(y=1), "has deep"),
        (ChainMap({}, {"y": 1}), "has deep"),
        ({"y": None}, "has"),
        ({1: 1, None: 2}, "has"),
        ({1, 2, 3}, "has"),
    ],
    ids=repr,
)
def test_python_values(value: Any, expected: str) -> None:
    assert true_of(value) == set(expected.split())


def test_nested_lists_beyond_the_limit_are_unusable() -> None:
    deep: Any = "vip"
    for _ in range(100_000):
        deep = [deep]
    assert SNAPSHOT.evaluate("limits", {"tags": deep, "account": {"id": "a"}}).variant == "small"
    assert SNAPSHOT.evaluate("limits", {"tags": [deep, "vip"]}).variant == "large"


def test_what_contains_itself_is_cut_off() -> None:
    loop: dict[str, Any] = {"sku": "y", "price": 1}
    loop.update(a=loop, b=loop, c=[loop, loop])
    context = {"cart": [loop], "tags": ["vip"], "account": {"id": "a"}}
    assert SNAPSHOT.evaluate("limits", context, now=0).variant == "large"
    assert SNAPSHOT.evaluate("limits", {"cart": [loop] * 100, "account": {"id": "a"}}, now=0).variant == "small"
    long = ["x" * 1_000_000] * 4000
    assert SNAPSHOT.evaluate("limits", {"tags": long, "account": {"id": "a"}}, now=0).variant == "small"
    assert SNAPSHOT.evaluate("limits", {"tags": ["vip", *long], "account": {"id": "a"}}, now=0).variant == "large"


def test_a_subclass_of_str_is_a_key_and_a_value() -> None:
    assert (
        SNAPSHOT.evaluate("checkout", {"plan": Plan.BETA, "targetingKey": "u", "app": {"version": "3"}}).variant
        == "new"
    )
    assert SNAPSHOT.evaluate(Key.CONSTANT, {}).value == "A"


def test_misuse_raises() -> None:
    bad: Any
    for bad in (None, [], "x", 7):
        with pytest.raises(TypeError, match="a context is a mapping or prepared"):
            SNAPSHOT.evaluate("checkout", bad)
        with pytest.raises(TypeError, match="a context is a mapping or prepared"):
            SNAPSHOT.evaluate_all(bad)
        with pytest.raises(TypeError, match="a context is a mapping or prepared"):
            SNAPSHOT.evaluate("no-such-flag", bad)
    with pytest.raises(TypeError, match="a flag key is a str, not int"):
        SNAPSHOT.evaluate(7, {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="prepared for another snapshot"):
        SNAPSHOT.evaluate("checkout", PROBE.prepare({}))
    for now in (8.64e15 + 1, 10**16, -(10**16)):
        with pytest.raises((ValueError, TypeError)):
            SNAPSHOT.evaluate("limits", {}, now=now)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="from_bytes"):
        Snapshot()
    with pytest.raises(TypeError, match=r"Snapshot\.prepare"):
        PreparedContext()
    with pytest.raises(ValueError, match="encoding"):
        SNAPSHOT.evaluate_batch(b'{"contexts":[]}', encoding="xml")  # type: ignore[arg-type]


def test_unknown_flag() -> None:
    for context in ({}, {"targetingKey": "u"}):
        found = SNAPSHOT.evaluate("no-such-flag", context)
        assert (found.value, found.variant, found.reason, found.error_code) == (None, None, "ERROR", "FLAG_NOT_FOUND")


def test_order_of_decision() -> None:
    def told(key: str, **context: Any) -> tuple[Any, ...]:
        found = SNAPSHOT.evaluate(key, context)
        return found.variant, found.reason, found.error_code, found.metadata.get("cause")

    assert told("constant") == ("a", "STATIC", None, None)
    assert told("disabled") == ("off", "DISABLED", None, None)
    assert told("code-default") == (None, "DEFAULT", None, None)
    assert told("code-default", beta=True) == ("on", "TARGETING_MATCH", None, None)
    assert told("checkout", created=0) == ("old", "DEFAULT", None, "PREREQUISITE_FAILED")
    assert told("checkout") == ("old", "DEFAULT", None, None)
    assert told("checkout", country="DE") == (None, "ERROR", "TARGETING_KEY_MISSING", None)
    assert told("checkout", country="DE", targetingKey="") == (None, "ERROR", "TARGETING_KEY_MISSING", None)
    assert told("checkout", country="DE", targetingKey=1.5) == (None, "ERROR", "TARGETING_KEY_MISSING", None)
    assert told("checkout", country="DE", targetingKey="u-9")[1] == "SPLIT"
    assert told("checkout", country="DE", targetingKey=17) == told("checkout", country="DE", targetingKey="17")
    assert told("checkout", country="DE", targetingKey=17.0) == told("checkout", country="DE", targetingKey="17")


def test_time_is_of_the_call() -> None:
    new_year = 1_893_456_000_000  # 2030-01-01T00:00:00Z
    context = {"account": {"id": "a"}}
    prepared = SNAPSHOT.prepare(context)
    for now, variant in [
        (new_year - 1, "small"),
        (new_year, "large"),
        (new_year - 1, "small"),
        (0, "small"),
        (2 * new_year, "large"),
    ]:
        assert SNAPSHOT.evaluate("limits", context, now=now).variant == variant
        assert SNAPSHOT.evaluate("limits", prepared, now=now).variant == variant
        assert SNAPSHOT.evaluate_all(prepared, now=now)["limits"].variant == variant
    assert SNAPSHOT.evaluate("limits", context).variant == "small"


def test_answers_are_immutable_and_objects_are_the_callers() -> None:
    found = SNAPSHOT.evaluate("constant", {})
    with pytest.raises(AttributeError):
        found.value = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.metadata["version"] = "0"  # type: ignore[index]
    assert dict(found.metadata) == {"flagSetId": "acme/shop/production", "version": "17"}
    context = {"account": {"id": "a"}}
    SNAPSHOT.evaluate("limits", context, now=0).value["requests"] = -1
    assert SNAPSHOT.evaluate("limits", context, now=0).value == {"requests": 10, "paths": ["/a"]}


def test_a_prepared_context_is_a_copy() -> None:
    context: dict[str, Any] = {
        "country": "DE",
        "tags": ["vip"],
        "account": {"id": "a" * 500},
        "targetingKey": "u" * 300,
    }
    expected = SNAPSHOT.evaluate_all(context, now=0)
    prepared = SNAPSHOT.prepare(context)
    context["tags"].clear()
    context["account"].clear()
    context.clear()
    filler = [str(i) * 100 for i in range(1000)]  # reuse what was freed
    assert SNAPSHOT.evaluate_all(prepared, now=0) == expected
    assert len(filler) == 1000


def test_what_it_is() -> None:
    assert SNAPSHOT.environment == "default"
    assert SNAPSHOT.flag_set_id == "acme/shop/production"
    assert SNAPSHOT.version == 17
    assert len(SNAPSHOT) == 6
    assert "checkout" in SNAPSHOT
    assert "no" not in SNAPSHOT
    assert 7 not in SNAPSHOT
    assert SNAPSHOT.flag_keys.index("payments") < SNAPSHOT.flag_keys.index("checkout")
    assert "acme/shop/production" in repr(SNAPSHOT)
    assert isinstance(SNAPSHOT.evaluate("constant", {}), Evaluation)


def test_from_many_threads_at_once() -> None:
    contexts = [
        {"targetingKey": f"u-{i}", "country": "DE", "email": f"root@{i}.test", "app": {"version": "2.4"}}
        for i in range(50)
    ]
    expected = [SNAPSHOT.evaluate_all(context, now=0) for context in contexts]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(20):
            for i, context in enumerate(contexts):
                if SNAPSHOT.evaluate_all(context, now=0) != expected[i]:
                    wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Reentrant(str):
    """A flag context member whose hash evaluates another context on the same snapshot."""

    __slots__ = ()

    def __hash__(self) -> int:
        SNAPSHOT.evaluate_all({"country": "FR", "targetingKey": "other"})
        return str.__hash__(self)


def test_evaluating_inside_an_evaluation() -> None:
    context = {Reentrant("country"): "DE", "targetingKey": "u-1", "plan": "beta", "app": {"version": "3.0.0"}}
    assert SNAPSHOT.evaluate("checkout", context).variant == "new"
