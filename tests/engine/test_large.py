"""Environments larger than the generated ones: flags that share everything, rules without end, flags without trees.

Few documents, each asked in every way of tests/agreement.py.
"""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from engine import Snapshot
from rules_compiler import CompileError, compile_flags
from tests.agreement import disagreements
from tests.compiler.codegen.read_snapshot import Reader, records
from tests.contexts import make_context, make_now
from tests.documents import World, make_world
from tests.engine.blobs import edited

ON = {"type": "boolean", "variants": {"on": True, "off": False}}
WORDS = [f"w{i}" for i in range(300)]
NOW = 1_800_000_000_000


def world_of(rng: random.Random, flags: int) -> tuple[World, bytes]:
    while True:
        world = make_world(rng, flags)
        environment = world.document.get("environments", ["default"])[0]
        try:
            return world, compile_flags(world.document, environment=environment)
        except CompileError:
            continue


def ask(rng: random.Random) -> dict[str, Any]:
    word = rng.choice
    return {
        "targetingKey": f"u{rng.randrange(99)}",
        "a": word(WORDS),
        "b": word([*WORDS, None]),
        "n": rng.randrange(-5, 600),
        "e": word(WORDS) + "@x",
    }


@pytest.mark.parametrize("seed", range(3))
def test_many_flags_with_every_feature(seed: int) -> None:
    rng = random.Random(seed)
    world, _ = world_of(rng, 60)
    environment = world.document.get("environments", ["default"])[0]
    asks = [(make_context(world, rng), make_now(world, rng)) for _ in range(3)]
    assert disagreements(world.document, asks, environment) == []


def test_hundreds_of_rules_and_a_hundred_variants() -> None:
    rng = random.Random(5)

    def rule() -> dict[str, Any]:
        shares = [{"variant": f"v{i}", "weight": 1} for i in range(100)]
        return {
            "when": rng.choice(
                [
                    f'a == "{rng.choice(WORDS)}" && n < {rng.randrange(600)}',
                    f"b in {json.dumps(rng.sample(WORDS, 5))}",
                    f'e.contains("{rng.choice(WORDS)}@") && n == {rng.randrange(600)}',
                ]
            ),
            "serve": {"split": shares, "by": rng.choice(["targetingKey", "b"])}
            if rng.random() < 0.3
            else f"v{rng.randrange(100)}",
        }

    variants = {f"v{i}": f"value {i}" for i in range(100)}
    flags = {
        f"f{k}": {
            "type": "string",
            "variants": variants,
            "rules": [rule() for _ in range(500)],
            "fallthrough": f"v{k}",
        }
        for k in range(3)
    }
    assert disagreements({"flags": flags}, [(ask(rng), NOW) for _ in range(12)]) == []


def test_rows_that_differ_from_the_default_in_a_few_words() -> None:
    rng = random.Random(6)
    values = [f"x{i}" for i in range(1000)]
    flags = {
        f"f{k:04d}": ON
        | {"rules": [{"when": f"a in {json.dumps(rng.sample(values, 8))}", "serve": "on"}], "fallthrough": "off"}
        for k in range(700)
    }
    reader = Reader(compile_flags({"flags": flags}))
    assert any(0 < row.patches < 17 for row in reader.CLASS_ROWS)
    assert disagreements({"flags": flags}, [({"a": rng.choice([*values, None, 3])}, NOW) for _ in range(8)]) == []


@pytest.mark.slow
def test_a_flag_too_large_for_a_tree() -> None:
    rng = random.Random(7)

    def alternative() -> str:
        literals = [f'a == "{rng.choice(WORDS)}"', f'b != "{rng.choice(WORDS)}"', f"n > {rng.randrange(600)}"]
        return "(" + " && ".join([*literals, f'e.endsWith("{rng.choice(WORDS)}@x")']) + ")"

    def rules(gate: str = "") -> list[dict[str, Any]]:
        return [
            {
                "when": gate + "(" + " || ".join(alternative() for _ in range(60)) + ")",
                "serve": rng.choice(["on", "off"]),
            }
            for _ in range(150)
        ]

    split = {"split": [{"variant": "on", "weight": 30}, {"variant": "off", "weight": 70}]}
    flags = {
        "base": ON | {"rules": [{"when": "n > 300", "serve": "on"}], "fallthrough": "off"},
        "gated": ON
        | {
            "offVariant": "off",
            "prerequisites": [{"flag": "huge", "variants": ["on"]}],
            "rules": rules('flag("base") && '),
            "fallthrough": "on",
        },
        "huge": ON | {"rules": rules(), "fallthrough": split},
        "last": ON | {"rules": [{"when": 'flag("gated") && b == "w2"', "serve": "on"}], "fallthrough": "off"},
    }
    described = Snapshot.from_bytes(compile_flags({"flags": flags})).describe()["flags"]
    assert [flag["key"] for flag in described if flag["conjunctions"] > 1 and not flag["tree"]] == ["huge", "gated"]
    assert disagreements({"flags": flags}, [(ask(rng), NOW) for _ in range(2)]) == []


def without_trees(blob: bytes) -> bytes:
    kind = records()["Flag"]
    flags = [flag._replace(first_tree=0, tree_count=0) for flag in Reader(blob).FLAGS]
    return edited(blob, FLAGS=b"".join(kind.struct.pack(*flag) for flag in flags))


@pytest.mark.parametrize("seed", range(20))
def test_every_flag_without_its_tree(seed: int) -> None:
    """The part of the matrix that is scanned for one flag says what the tree would."""
    rng = random.Random(seed)
    world, blob = world_of(rng, 12)
    snapshot, scanned = Snapshot.from_bytes(blob), Snapshot.from_bytes(without_trees(blob))
    keys = list(snapshot.flag_keys)
    assert all(not flag["tree"] for flag in scanned.describe()["flags"])
    for _ in range(10):
        context, now = make_context(world, rng), make_now(world, rng)
        expected = snapshot.evaluate_all(context, now=now)
        assert scanned.evaluate_all(context, now=now) == expected
        prepared = scanned.prepare(context)
        for key in rng.sample(keys, len(keys)):
            assert scanned.evaluate(key, context, now=now) == expected[key]
            assert scanned.evaluate(key, prepared, now=now) == expected[key]


@pytest.mark.parametrize("seed", range(10))
def test_what_clients_see(seed: int) -> None:
    """The flags that are client-visible, with the answers that others get, in each style."""
    rng = random.Random(seed)
    world, blob = world_of(rng, 20)
    snapshot = Snapshot.from_bytes(blob)
    visible = [flag["key"] for flag in snapshot.describe()["flags"] if flag["clientVisible"]]
    for _ in range(5):
        context, now = make_context(world, rng), make_now(world, rng)
        try:
            body = msgspec.json.encode({"context": context})
            batches = [
                {"contexts": [context], "format": style} | named
                for style in ("full", "compact")
                for named in ({}, {"flags": list(snapshot.flag_keys)})
            ]
            bodies = [msgspec.json.encode(batch) for batch in batches]
        except (TypeError, ValueError):
            continue
        everything = json.loads(snapshot.evaluate_json(body, now=now))
        if "flags" not in everything:
            continue
        seen = json.loads(snapshot.evaluate_json(body, client=True, now=now))
        assert seen["flags"] == [entry for entry in everything["flags"] if entry["key"] in visible]
        full, named, compact, compact_named = (
            json.loads(snapshot.evaluate_batch(each, client=True, now=now)) for each in bodies
        )
        assert full["results"][0]["flags"] == seen["flags"]
        errors = {entry["key"]: entry.get("errorCode") for entry in named["results"][0]["flags"]}
        assert all((errors[key] == "FLAG_NOT_FOUND") == (key not in visible) for key in snapshot.flag_keys)
        assert compact["flags"] == visible
        for reply in (compact, compact_named):
            indices = dict(zip(reply["flags"], reply["results"][0], strict=True))
            outcomes = dict(zip(reply["flags"], reply["outcomes"], strict=True))
            for entry in seen["flags"]:
                if "errorCode" in entry:
                    assert indices[entry["key"]] == -1
                else:
                    assert outcomes[entry["key"]][indices[entry["key"]]] | {"key": entry["key"]} == entry


@pytest.mark.parametrize("seed", range(10))
def test_contexts_with_one_etag_have_one_answer(seed: int) -> None:
    rng = random.Random(seed)
    world, blob = world_of(rng, 6)
    snapshot = Snapshot.from_bytes(blob)
    contexts = [make_context(world, rng) for _ in range(12)]
    times = [make_now(world, rng) for _ in range(3)]
    answers: dict[str, bytes] = {}
    tags = 0
    for i in range(600):
        one, other = rng.choice(contexts), rng.choice(contexts)
        mixed = {key: rng.choice([one, other])[key] for key in one.keys() & other.keys()} | {"not read": i}
        try:
            body = msgspec.json.encode({"context": one | mixed})
        except (TypeError, ValueError):
            continue
        etag, answer = snapshot.evaluate_json_if_changed(body, None, now=rng.choice(times), client=rng.random() < 0.2)
        if etag and answer is not None:
            tags += 1
            assert answers.setdefault(etag, answer) == answer
    assert not tags or len(answers) < tags
