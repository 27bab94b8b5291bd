"""The strict JSON reader: every rule of docs/semantics.md, JSON that is read; elsewhere as Python's json."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from engine import error_code_of
from tests.engine.environments import everything, snapshot_of

SNAPSHOT = everything()


def details(body: bytes) -> str:
    reply = json.loads(SNAPSHOT.evaluate_json(body))
    return f"{reply.get('errorCode')}: {reply.get('errorDetails')}"


REFUSED = [
    (b"", "PARSE_ERROR: not JSON, at byte 0"),
    (b"   ", "PARSE_ERROR: not JSON, at byte 3"),
    (b"\xef\xbb\xbf{}", "PARSE_ERROR: not JSON, at byte 0"),
    (b"[]", "INVALID_CONTEXT: the body is not an object, at byte 0"),
    (b"7", "INVALID_CONTEXT: the body is not an object, at byte 0"),
    (b"{}", "INVALID_CONTEXT: the body has no `context`, at byte 0"),
    (b'{"context":null}', "INVALID_CONTEXT: `context` is not an object, at byte 15"),
    (b'{"context":{}} {}', "PARSE_ERROR: something follows the value, at byte 15"),
    (b'{"context":{}}\x00', "PARSE_ERROR: something follows the value, at byte 14"),
    (b'{"context":{},"context":{}}', "PARSE_ERROR: a member is there twice, at byte 14"),
    (b'{"context":{"x":1,"\\u0078":2}}', "PARSE_ERROR: a member is there twice, at byte 18"),
    (b'{"context":{"x":{"y":1,"y":1}}}', "PARSE_ERROR: a member is there twice, at byte 23"),
    (b'{"context":{"x":"\xff"}}', "PARSE_ERROR: not UTF-8, at byte 17"),
    (b'{"context":{"x":"\xed\xa0\x80"}}', "PARSE_ERROR: not UTF-8, at byte 17"),
    (b'{"context":{"x":"\xc0\xaf"}}', "PARSE_ERROR: not UTF-8, at byte 17"),
    (b'{"context":{"x":"a\nb"}}', "PARSE_ERROR: a string with a control character, a wrong escape or a lone surrogate"),
    (
        b'{"context":{"x":"\\ud83d"}}',
        "PARSE_ERROR: a string with a control character, a wrong escape or a lone surrogate",
    ),
    (b'{"context":{"x":"\\udc00\\ud83d"}}', "PARSE_ERROR: a string with a control character"),
    (b'{"context":{"x":"\\x41"}}', "PARSE_ERROR: a string with a control character"),
    (b'{"context":{"x":"\\u00g0"}}', "PARSE_ERROR: a string with a control character"),
    (b'{"context":{"x":NaN}}', "PARSE_ERROR: not JSON, at byte 16"),
    (b'{"context":{"x":Infinity}}', "PARSE_ERROR: not JSON, at byte 16"),
    (b'{"context":{"x":-}}', "PARSE_ERROR: not JSON"),
    (b'{"context":{"x":01}}', "PARSE_ERROR: not JSON, at byte 16"),
    (b'{"context":{"x":1.}}', "PARSE_ERROR: not JSON"),
    (b'{"context":{"x":.5}}', "PARSE_ERROR: not JSON"),
    (b'{"context":{"x":1e}}', "PARSE_ERROR: not JSON"),
    (b'{"context":{"x":+1}}', "PARSE_ERROR: not JSON"),
    (b'{"context":{"x":[1,]}}', "PARSE_ERROR: not JSON"),
    (b'{"context":{"x":1,}}', "PARSE_ERROR: not JSON"),
    (b'{"context":{x:1}}', "PARSE_ERROR: not JSON"),
    (b"{'context':{}}", "PARSE_ERROR: not JSON"),
    (b'{"context":{"x":tru}}', "PARSE_ERROR: not JSON"),
    (b'{"context":{"x":"abc', "PARSE_ERROR: not JSON"),
    (b'{"context":{"x":"abc\\', "PARSE_ERROR: not JSON"),
    (b'{"context":{"x":1', "PARSE_ERROR: not JSON"),
    (b'{"context":' + b"[" * 5000, "PARSE_ERROR: nested more than 32 levels deep"),
    (b'{"context":{"x":' + b"[" * 5000 + b"]" * 5000 + b"}}", "PARSE_ERROR: nested more than 32 levels deep"),
    (b'{"context":{"x":' + b'{"a":' * 5000, "PARSE_ERROR: nested more than 32 levels deep"),
    (b'{"context":{"x":' + b"1" * 513 + b"}}", "PARSE_ERROR: a number of more than 512 bytes"),
    (b'{"context":{"x":"' + b"a" * (1 << 20) + b'"}}', "PARSE_ERROR: a context of more than 1 MiB"),
    (b'{"context":{"x":"' + b"a" * (16 << 20) + b'"}}', "PARSE_ERROR: a body of more than 16 MiB"),
    (
        json.dumps({"context": {f"a{i}": i for i in range(1025)}}).encode(),
        "PARSE_ERROR: an object of more than 1024 members",
    ),
    (b'{"context":{"' + b'a":1,"' * 30 + b'b":1}}', "PARSE_ERROR: a member is there twice"),
]


@pytest.mark.parametrize(("body", "expected"), REFUSED, ids=lambda value: repr(value[:40]))
def test_refused_with_a_reason_and_a_place(body: bytes, expected: str) -> None:
    assert details(body).startswith(expected)
    assert error_code_of(SNAPSHOT.evaluate_json(body)) == expected.split(":")[0]
    single = json.loads(SNAPSHOT.evaluate_json(body, "checkout"))
    assert single["key"] == "checkout"
    assert f"{single['errorCode']}: {single['errorDetails']}".startswith(expected)


@pytest.mark.parametrize("place", ["many", "few"])
def test_members_beyond_the_first_few_are_kept_apart(place: str) -> None:
    members = {f"name-{i}": i for i in range(1000 if place == "many" else 20)}
    body = json.dumps({"context": members | {"country": "DE", "targetingKey": "u-9"}}).encode()
    assert error_code_of(SNAPSHOT.evaluate_json(body)) is None
    again = body[:-2] + b',"name-7":1}}'
    assert details(again).startswith("PARSE_ERROR: a member is there twice")


PROBES = {
    "flags": {
        name: {
            "type": "boolean",
            "variants": {"on": True, "off": False},
            "rules": [{"when": when, "serve": "on"}],
            "fallthrough": "off",
        }
        for name, when in {
            "has": "has(x)",
            "one": "x == 1",
            "small": "x < 0.5",
            "large": "x > 9007199254740990",
            "true": "x",
            "a": 'x == "a"',
            "nul": 'x == "\\u0000"',
            "emoji": 'x == "\U0001f600"',
            "three": "size(x) == 3",
            "deep": "x.y == 1",
            "third": "x == 0.3",
            "tiny": "x == 5e-324",
            "huge": "x == 1.7976931348623157e308",
            "quote": 'x == "\\"\\\\/\\b\\f\\n\\r\\t"',
        }.items()
    }
}

READ = [
    (b"1", "has one"),
    (b"1.0", "has one"),
    (b"1e0", "has one"),
    (b"10e-1", "has one"),
    (b"1E+0", "has one"),
    (b"-0", "has small"),
    (b"-0.0", "has small"),
    (b"0.3", "has small third"),
    (b"0.30000000000000000000000000000001", "has small third"),
    (b"3e-1", "has small third"),
    (b"5e-324", "has small tiny"),
    (b"1e-400", "has small"),
    (b"1.7976931348623157e308", "has large huge"),
    (b"1e999", "has"),
    (b"-1e999", "has"),
    (b"9007199254740991", "has large"),
    (b"9007199254740992", "has"),
    (b"9007199254740992.0", "has large"),
    (b"-9007199254740992", "has"),
    (b"123456789012345678901234567890", "has"),
    (b"1e20", "has large"),
    (b"null", ""),
    (b"true", "has true"),
    (b"false", "has"),
    (b'"a"', "has a"),
    (b'"\\u0061"', "has a"),
    (b'"\\u0000"', "has nul"),
    (b'"\\ud83d\\ude00"', "has emoji"),
    ('"\U0001f600"'.encode(), "has emoji"),
    (b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', "has quote"),
    (b'"abc"', "has three"),
    ('"äöü"'.encode(), "has three"),
    (b"[1,2,3]", "has three"),
    (b'{"a":1,"b":null,"c":[]}', "has three"),
    (b"[]", "has"),
    (b"{}", "has"),
    (b'{"y":1}', "has deep"),
    (b'{ "y" : 1 , "z" : [ ] }', "has deep"),
    (b"[" + b"0," * 4096 + b"0]", "has"),
    (b"[" * 30 + b"]" * 30, "has"),
]


@pytest.mark.parametrize(("text", "expected"), READ, ids=lambda value: repr(value[:30]))
def test_values_are_read_as_the_page_says(text: bytes, expected: str) -> None:
    snapshot = snapshot_of(PROBES)
    reply = json.loads(snapshot.evaluate_json(b'{"context":{"x":' + text + b"}}"))
    assert {each["key"] for each in reply["flags"] if each["value"]} == set(expected.split())


def random_json(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(9 if depth < 4 else 7)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.choice([0, -1, 17, 2**53 - 1, 2**60, rng.randrange(-1000, 1000)])
    if kind == 2:
        return rng.choice([0.5, -1e-7, 1e300, rng.random() * 10 ** rng.randrange(-20, 20)])
    if kind < 7:
        return "".join(rng.choice(["a", "é", "\\", '"', "\n", "\U0001f600", "/", "0"]) for _ in range(rng.randrange(6)))
    if kind == 7:
        return [random_json(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice("abcdefgh") + str(i): random_json(rng, depth + 1) for i in range(rng.randrange(4))}


def strict(body: bytes) -> bool:
    """Would a strict reader take this? By Python's json, told to be strict."""

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("duplicate")
        for name, value in pairs:
            name.encode()
            if isinstance(value, str):
                value.encode()
        return dict(pairs)

    def refuse(constant: str) -> float:
        raise ValueError(constant)

    try:
        text = body.decode()
        value = json.loads(text, object_pairs_hook=no_duplicates, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and isinstance(value.get("context"), dict)


def test_takes_exactly_what_a_strict_reader_takes() -> None:
    rng = random.Random(20261122)
    taken = 0
    for _ in range(20_000):
        body = bytearray(
            json.dumps(
                {"context": {"k": random_json(rng), "country": random_json(rng)}, "other": random_json(rng)},
                ensure_ascii=rng.random() < 0.5,
                indent=rng.choice([None, 1]),
            ).encode()
        )
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(body))
            match rng.randrange(3):
                case 0:
                    body[at] = rng.choice(b'{}[]",:0123456789eE+-.\\utrufalsn \n\x00\x1f\x80\xff')
                case 1:
                    del body[at]
                case _:
                    body.insert(at, rng.choice(b'{}[]",:019eE+-.\\u \t\x00\xc3'))
        ours = error_code_of(SNAPSHOT.evaluate_json(bytes(body))) is None
        assert ours == strict(bytes(body)), bytes(body)
        taken += ours
    assert 2_000 < taken < 18_000


def test_random_bytes_are_answered() -> None:
    rng = random.Random(7)
    for _ in range(5_000):
        body = rng.randbytes(rng.randrange(80))
        assert error_code_of(SNAPSHOT.evaluate_json(body)) in ("PARSE_ERROR", "INVALID_CONTEXT")
        assert error_code_of(SNAPSHOT.evaluate_batch(body)) in ("PARSE_ERROR", "INVALID_CONTEXT")
