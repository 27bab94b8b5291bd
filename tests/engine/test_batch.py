"""The batch endpoint's bodies: docs/batch.md."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from engine import error_code_of
from tests.engine.environments import everything, snapshot_of

SNAPSHOT = everything()
CONTEXTS: list[dict[str, Any]] = [
    {
        "targetingKey": f"u-{i}",
        "country": ["DE", "FR", "US"][i % 3],
        "account": {"id": i},
        "name": 'quo"te\\ é',
        "beta": i % 2 == 0,
    }
    for i in range(40)
]
CONTEXTS.append({"country": "DE"})


def ask(**request: Any) -> Any:
    client = request.pop("client", False)
    body = json.dumps(request).encode()
    reply = SNAPSHOT.evaluate_batch(body, now=0, client=client)
    packed = SNAPSHOT.evaluate_batch(body, now=0, client=client, encoding="msgpack")
    decoded = json.loads(reply)
    if error_code_of(reply) is None:
        assert msgspec.msgpack.decode(packed) == decoded
    else:
        assert packed == reply
    return decoded


def single(context: dict[str, Any], client: bool = False) -> list[Any]:
    reply = json.loads(SNAPSHOT.evaluate_json(json.dumps({"context": context}).encode(), client=client, now=0))
    assert reply["metadata"] == {"flagSetId": "acme/shop/production", "version": "17"}
    return list(reply["flags"])


@pytest.mark.parametrize("client", [False, True])
def test_full_is_the_bulk_answer_of_each_context(client: bool) -> None:
    reply = ask(contexts=CONTEXTS, client=client)
    assert [each["flags"] for each in reply["results"]] == [single(context, client) for context in CONTEXTS]
    assert reply["metadata"] == {"flagSetId": "acme/shop/production", "version": "17"}


@pytest.mark.parametrize("client", [False, True])
@pytest.mark.parametrize("flags", [None, ["limits", "no-such-flag", "checkout", "checkout", "constant"], []])
def test_compact_says_the_same(client: bool, flags: list[str] | None) -> None:
    request: dict[str, Any] = {"contexts": CONTEXTS} | ({} if flags is None else {"flags": flags})
    full, compact = ask(**request, client=client), ask(**request, client=client, format="compact")
    assert compact["metadata"] == full["metadata"]
    for row, result in zip(compact["results"], full["results"], strict=True):
        rebuilt = []
        for key, outcomes, index in zip(compact["flags"], compact["outcomes"], row, strict=True):
            rebuilt.append({"key": key} | (outcomes[index] if index >= 0 else {"errorCode": "TARGETING_KEY_MISSING"}))
        expected = [{k: v for k, v in entry.items() if k != "errorDetails"} for entry in result["flags"]]
        assert rebuilt == expected
    if flags is not None:
        assert compact["flags"] == flags


def test_members_may_come_in_any_order() -> None:
    body = b'{"format":"compact","x":[{"contexts":1}],"flags":["constant"],"contexts":[ {} , {"a":"\\u00e9"} ]}'
    assert json.loads(SNAPSHOT.evaluate_batch(body))["results"] == [[0], [0]]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", "INVALID_CONTEXT: the body has no `contexts`, at byte 0"),
        (b"[]", "INVALID_CONTEXT: the body is not an object, at byte 0"),
        (b'{"contexts":{}}', "INVALID_CONTEXT: `contexts` is not a list, at byte 12"),
        (b'{"contexts":[{},3]}', "INVALID_CONTEXT: contexts[1]: a context is not an object, at byte 16"),
        (b'{"contexts":[{},{"a":1,"a":1}]}', "PARSE_ERROR: contexts[1]: a member is there twice, at byte 23"),
        (b'{"contexts":[{}],"flags":"a"}', "INVALID_CONTEXT: `flags` is not a list, at byte 25"),
        (
            b'{"contexts":[{}],"flags":[1]}',
            "INVALID_CONTEXT: `flags` holds something that is not a flag key, at byte 25",
        ),
        (b'{"contexts":[{}],"flags":["a b"]}', "INVALID_CONTEXT: `flags` holds something that is not a flag key"),
        (b'{"contexts":[{}],"flags":[""]}', "INVALID_CONTEXT: `flags` holds something that is not a flag key"),
        (b'{"contexts":[{}],"flags":["' + b"a" * 300 + b'"]}', "INVALID_CONTEXT: `flags` holds something that is not"),
        (b'{"contexts":[{}],"format":"xml"}', "INVALID_CONTEXT: `format` is neither `full` nor `compact`, at byte 26"),
        (b'{"contexts":[{}],"format":1}', "INVALID_CONTEXT: `format` is neither `full` nor `compact`, at byte 26"),
        (b'{"contexts":[{}],"contexts":[]}', "PARSE_ERROR: a member is there twice"),
        (b'{"contexts":[{}]', "PARSE_ERROR: not JSON, at byte 16"),
        (b'{"contexts":[' + b"{}," * 10_000 + b"{}]}", "INVALID_CONTEXT: contexts[10000]: more than 10000 contexts"),
        (b'{"contexts":[],"flags":[' + b'"a",' * 10_000 + b'"a"]}', "INVALID_CONTEXT: more than 10000 flags"),
        (b'{"contexts":[{"a":"' + b"a" * (1 << 20) + b'"}]}', "PARSE_ERROR: contexts[0]: a context of more than 1 MiB"),
        (b" " * (16 << 20) + b"{}", "PARSE_ERROR: a body of more than 16 MiB"),
    ],
    ids=lambda value: repr(value[:50]),
)
def test_refused_as_a_whole(body: bytes, expected: str) -> None:
    reply = SNAPSHOT.evaluate_batch(body)
    decoded = json.loads(reply)
    assert f"{decoded['errorCode']}: {decoded['errorDetails']}".startswith(expected)
    assert error_code_of(reply) == expected.split(":")[0]


def test_many_and_none() -> None:
    assert ask(contexts=[]) == {"results": [], "metadata": {"flagSetId": "acme/shop/production", "version": "17"}}
    assert ask(contexts=[], format="compact", flags=[])["results"] == []
    reply = ask(contexts=[{"targetingKey": str(i)} for i in range(10_000)], format="compact")
    assert len(reply["results"]) == 10_000
    assert len(ask(contexts=[{}] * 5_000)["results"]) == 5_000


def test_a_reply_too_large_is_refused() -> None:
    snapshot = snapshot_of({"flags": {"big": {"type": "string", "variants": {"v": "x" * 60_000}, "fallthrough": "v"}}})
    body = json.dumps({"contexts": [{}] * 5_000}).encode()
    reply = json.loads(snapshot.evaluate_batch(body))
    assert reply["errorCode"] == "INVALID_CONTEXT"
    assert "32 MiB" in reply["errorDetails"]
    assert len(json.loads(snapshot.evaluate_batch(body[:-1] + b',"format":"compact"}'))["results"]) == 5_000


def test_too_many_evaluations_are_refused_before_any() -> None:
    body = json.dumps({"contexts": [{}] * 10_000, "flags": ["constant"] * 201, "format": "compact"}).encode()
    reply = json.loads(SNAPSHOT.evaluate_batch(body))
    assert reply["errorCode"] == "INVALID_CONTEXT"
    assert reply["errorDetails"].startswith("more than 2000000 evaluations")


def test_deep_and_odd_values_survive_messagepack() -> None:
    rng = random.Random(5)
    value: Any = {
        "numbers": [0, -1, 127, 128, 255, 256, 65535, 65536, 2**32, 2**53 - 1, -32, -33, -(2**31), 1.5, 1e300, 1.0]
    }
    value["long"] = {f"k{i}": "ü" * rng.randrange(300) for i in range(40)}
    value["texts"] = ["", "a" * 31, "a" * 32, "a" * 255, "a" * 256, "a" * 40_000, True, False, None]
    for _ in range(12):
        value = {"in": [value]}
    snapshot = snapshot_of(
        {"flags": {"odd": {"type": "object", "variants": {"v": {"x": 1}, "w": value["in"][0]}, "fallthrough": "w"}}}
    )
    for style in ("full", "compact"):
        body = json.dumps({"contexts": [{}], "format": style}).encode()
        assert msgspec.msgpack.decode(snapshot.evaluate_batch(body, encoding="msgpack")) == json.loads(
            snapshot.evaluate_batch(body)
        )


def test_etags_follow_what_flags_read() -> None:
    def etag(now: int = 0, client: bool = False, **context: Any) -> str:
        return SNAPSHOT.evaluate_json_if_changed(
            json.dumps({"context": context}).encode(), None, now=now, client=client
        )[0]

    base = etag(country="DE", targetingKey="u")
    assert base == etag(targetingKey="u", country="DE", nobody="reads", this=[1, {}])
    assert base == etag(now=5, country="FR", targetingKey="u")  # the same class
    different = {
        base,
        etag(country="US", targetingKey="u"),
        etag(country="DE", targetingKey="v"),
        etag(country="DE"),
        etag(client=True, country="DE", targetingKey="u"),
        etag(now=1_893_456_000_000, country="DE", targetingKey="u"),
        etag(country="DE", targetingKey="u", email="a@example.com"),
    }
    assert len(different) == 7
    body = b'{"context":{"country":"DE","targetingKey":"u"}}'
    for header in (base, f"W/{base}", f'"x", {base}', "*"):
        assert SNAPSHOT.evaluate_json_if_changed(body, header, now=0) == (base, None)
    for header in ("", '"x"', base.strip('"')):
        assert SNAPSHOT.evaluate_json_if_changed(body, header, now=0)[1] is not None
    assert SNAPSHOT.evaluate_json_if_changed(b"{}", "*")[1] is not None
