"""Texts that are nearly a version, a time or an address, and numbers at every edge: engine == oracle, value by value.

    "2025-12-31T23:59:59Z"  ->  "2025-12-31T23:59:5Z", "2025-12-31T23:59:59+00Z", "2225-12-31t23:59:59.Z", …

Generated contexts are mostly well formed. Here a value is a good one with a few characters changed, so each
reader's strictness is compared at its edges; the document stays the same, so there are many values to a second.
"""

from __future__ import annotations

import json
import random

import pytest

from engine import Snapshot
from rules_compiler import compile_flags
from tests import reference
from tests.agreement import bulk, is_json, normal
from tests.front_end import lowered
from tests.semantics_table import truth_flag
from tests.test_agreement import NIGHTLY

VALUES = 20_000 if NIGHTLY else 1_500

VERSIONS = (
    "1.2.3",
    "v2.0.0-rc.1+b.7",
    "0",
    "10.20",
    "4294967294.0.4294967294",
    "1.0.0-alpha.beta.11",
    "1.2+x",
    "1.0.0--.0",
)
TIMES = (
    "2025-12-31T23:59:59Z",
    "2024-02-29t00:00:00.123456789+01:30",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.9-23:59",
)
ADDRESSES = (
    "10.0.0.1",
    "255.255.255.255",
    "2001:db8::7",
    "::",
    "::ffff:10.0.0.1",
    "1:2:3:4:5:6:7:8",
    "::1",
    "fe80::1",
    "1::8",
)
CONDITIONS = {
    "version": [
        f'semver(a) {op} semver("{v}")' for op in ("<", "==", ">=") for v in ("1.2.3", "2.0.0-rc.1", "0", "v10.20")
    ],
    "time": [
        f'timestamp(a) {op} timestamp("{t}")'
        for op in ("<", "==", ">=")
        for t in ("2025-12-31T23:59:59Z", "2024-02-28T22:30:00.123456Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
    ],
    "address": [
        f'ip(a) in cidr("{n}")' for n in ("10.0.0.0/8", "2001:db8::/32", "::/0", "0.0.0.0/0", "::1/128", "1:2::/31")
    ],
}
CHARACTERS = {"version": "0129vV.-+ax ", "time": "0123459:-+TtZz. ", "address": "0125:.afF%/ "}
GOOD = {"version": VERSIONS, "time": TIMES, "address": ADDRESSES}


def spoilt(text: str, characters: str, rng: random.Random) -> str:
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        at = rng.randint(0, len(text))
        character = rng.choice(characters) if rng.random() < 0.97 else rng.choice("é\0１\n")
        end = at + rng.choice((0, 1, 1, 1, 2, 4))
        text = text[:at] + rng.choice((character, "", text[at:end] * 2, character)) + text[end:]
    return text


@pytest.mark.parametrize("kind", CONDITIONS)
def test_texts(kind: str) -> None:
    rng = random.Random(kind)
    compare(
        [*CONDITIONS[kind], "size(a) > 5"],
        [spoilt(rng.choice(GOOD[kind]), CHARACTERS[kind], rng) for _ in range(VALUES)],
    )


EDGES = (
    0.0,
    1.0,
    0.1,
    1e11,
    1_767_225_599.999999,
    2.0**53,
    2.0**31,
    2.0**32,
    2.0**63,
    2.0**64,
    5e-324,
    1.7e308,
    1e22,
    1e-7,
)


def test_numbers() -> None:
    rng = random.Random("numbers")
    conditions = [
        f"a {op} {n}" for op in ("<", "==", ">=") for n in ("0", "0.1", "-1", "9007199254740991", "1e22", "5e-324")
    ]
    conditions += [f'timestamp(a) {op} timestamp("2025-12-31T23:59:59.999999Z")' for op in ("<", "==")]
    conditions += [
        'timestamp(a) <= timestamp("5138-11-16T09:46:40Z")',
        "a in [0, 1, 0.1, 9007199254740991]",
        "has(b.a)",
    ]
    values: list[int | float] = []
    while len(values) < VALUES:
        number = rng.choice(EDGES) * rng.choice((1, 1, -1, 1 + 2**-52, 1 - 2**-53, 0.5))
        values += [number, int(number) + rng.choice((-1, 0, 1))] if abs(number) < 1e300 else [number]
    compare(conditions, values)


@pytest.mark.parametrize(
    "text",
    "0 -0 0.0 -0.0 0e0 -0e-5 1e0 10e-1 0.1e1 1E+0 9007199254740991 9007199254740992 9007199254740993 -9007199254740992"
    " 9007199254740992.0 9007199254740993.0 90071992547409910e-1 9007199254740992e0 1e308 1.7976931348623157e308"
    " 1.7976931348623158e308 1.7976931348623159e308 1e309 -1e999 5e-324 2e-324 3e-324 1e-999"
    " 0.1000000000000000055511151231257827 0.30000000000000004 123456789012345678901234567890"
    " 1.00000000000000011102230246251565404 100000000000.00000001"
    " 2.2250738585072011e-308 2.2250738585072014e-308 8.5e-1".split(),
)
def test_spellings_of_numbers(text: str) -> None:
    body = f'{{"context": {{"a": {text}}}}}'.encode()
    context = json.loads(body)["context"]
    if abs(context["a"]) > 1.7976931348623157e308:
        context["a"] = float("inf")  # what overflows is unusable
    numbers = (
        "0",
        "1",
        "0.1",
        "0.3",
        "0.85",
        "9007199254740991",
        "-9007199254740991",
        "1e22",
        "1.7976931348623157e308",
    )
    document = {"flags": {f"f{n}": truth_flag(f"a {op} {number}")
                          for n, (op, number) in enumerate((o, m) for o in ("<", "==") for m in numbers)}}  # fmt: skip
    snapshot = Snapshot.from_bytes(compile_flags(document))
    expected = {key: normal(each) for key, each in reference.evaluate_all(lowered(document), context, 0).items()}
    assert bulk(snapshot.evaluate_json(body, now=0)) == expected


def compare(conditions: list[str], values: list[str] | list[int | float]) -> None:
    document = {"flags": {f"f{n}": truth_flag(text) for n, text in enumerate(conditions)}}
    environment, snapshot = lowered(document), Snapshot.from_bytes(compile_flags(document))
    for value in values:
        context = {"a": value, "b": {"a": value}}
        expected = {key: normal(each) for key, each in reference.evaluate_all(environment, context, 0).items()}
        found = {key: normal(each) for key, each in snapshot.evaluate_all(context, now=0).items()}
        assert found == expected, value
        if is_json(context):
            body = json.dumps({"context": context}).encode()
            assert bulk(snapshot.evaluate_json(body, now=0)) == expected, body
