"""Compiled == oracle, for every generated document, context and time, whichever way the engine is asked.

5,000 pairs by default, 200,000 with BURGEE_PROFILE=nightly or hypothesis' nightly profile. A seed is one document; a
failure names it and shows the smallest document and context that still disagree.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import assume, given, settings

from engine import Snapshot
from rules_compiler import CompileError, compile_flags
from tests import semantics_table
from tests.agreement import Ask, bulk, disagreements, told
from tests.contexts import make_context, make_now
from tests.documents import World, make_world
from tests.strategies import pairs

NIGHTLY = os.environ.get("BURGEE_PROFILE") == "nightly" or settings().max_examples >= 1000
DOCUMENTS, CONTEXTS = (4_200, 50) if NIGHTLY else (260, 20)
SHARES = 10
TOO_MUCH = {"B411", "B412", "B413"}  # too deep, or too many alternatives: a generated condition may be that


def asks_of(world: World, rng: random.Random) -> list[Ask]:
    """Contexts in a few batches, each of one time."""
    asks: list[Ask] = []
    while len(asks) < CONTEXTS:
        now = make_now(world, rng)
        asks += [(make_context(world, rng, python_only=rng.random() < 0.2), now) for _ in range(5)]
    return asks[:CONTEXTS]


def asks_too_much(world: World, environment: str | None) -> bool:
    try:
        compile_flags(world.document, environment=environment)
    except CompileError as error:
        codes = {each.code for each in error.diagnostics if each.severity == "error"}
        assert codes <= TOO_MUCH, error
        return True
    return False


@pytest.mark.parametrize("share", range(SHARES))
def test_generated(share: int) -> None:
    refused = 0
    for seed in range(share, DOCUMENTS, SHARES):
        rng = random.Random(seed)
        world = make_world(rng, rng.choice((4, 4, 6, 6, 6, 6, 6, 6, 6, 50)))
        environment = rng.choice(world.document.get("environments", [None]))
        if asks_too_much(world, environment):
            refused += 1
            continue
        found = disagreements(world.document, asks_of(world, rng), environment)
        assert not found, told(found[0], world.document, environment, seed)
    assert refused <= DOCUMENTS / SHARES / 10


@settings(max_examples=1000 if NIGHTLY else 25)
@given(pairs())
def test_shrinking(pair: tuple[World, dict[str, Any], int]) -> None:
    """The same, where hypothesis may find a smaller way to fail."""
    world, context, now = pair
    for environment in world.document.get("environments", [None]):
        assume(not asks_too_much(world, environment))
        assert not disagreements(world.document, [(context, now)], environment)


def test_each_row_of_the_semantics() -> None:
    document = semantics_table.document()
    rows = list(semantics_table.rows())
    snapshot = Snapshot.from_bytes(compile_flags(document))
    wrong = []
    for row in rows:
        found = snapshot.evaluate(row.flag, row.context, now=row.now).variant
        if found != semantics_table.TRUTHS[row.truth]:
            wrong.append(f"{row.when} with {row.context} is {found}, not {row.truth}")
    assert not wrong, "\n".join(wrong)
    asks = list({repr((row.context, row.now)): (row.context, row.now) for row in rows}.values())
    found_all = disagreements(document, asks[:: 1 if NIGHTLY else 4])
    assert not found_all, told(found_all[0], document, None, "semantics.json")


@pytest.mark.parametrize("size", [4095, 4096, 4097, 5000])
def test_long_lists(size: int) -> None:
    conditions = (
        "has(a)",
        '"x" in a',
        f"size(a) == {size}",
        'a.exists(e, e == "x")',
        'a.all(e, e == "y")',
        "size(b.c) > 0",
    )
    document = {"flags": {f"f{n}": semantics_table.truth_flag(text) for n, text in enumerate(conditions)}}
    lists: list[list[Any]] = [["y"] * size, ["y"] * (size - 1) + ["x"], [None] * size, [[]] * size]
    asks: list[Ask] = [({"a": each, "b": {"c": each}}, 0) for each in lists]
    assert not disagreements(document, asks)


@pytest.mark.parametrize("size", [0, 63, 64, 65, 400])
def test_lists_inside_a_quantifier(size: int) -> None:
    conditions = (
        "a.exists(x, b.exists(y, x == y))",
        "a.all(x, 'z' in b)",
        "a.exists(x, 'y' in b || x == 'x')",
        "a.exists(x, !('z' in b) && x == 'x')",
        "a.all(x, b.exists(y, y == 'y'))",
        "c.exists(x, 'y' in x.b)",
        "c.all(x, x.b.all(y, y == 'y' && 'y' in b))",
    )
    document = {"flags": {f"f{n}": semantics_table.truth_flag(text) for n, text in enumerate(conditions)}}
    assert not disagreements(document, [({"a": ["x"] * 400, "b": ["y"] * size, "c": [{"b": ["y"] * size}]}, 0)])


def test_clients_see_what_is_visible_to_them() -> None:
    for seed in range(20):
        world = make_world(random.Random(seed))
        environment = world.document.get("environments", [None])[0]
        if asks_too_much(world, environment):
            continue
        snapshot = Snapshot.from_bytes(compile_flags(world.document, environment=environment))
        flags = world.document["flags"]
        visible = {key for key, flag in flags.items() if flag.get("clientVisible")}
        body = b'{"context": {"targetingKey": "u-1"}}'
        seen = bulk(snapshot.evaluate_json(body, client=True, now=0))
        every = bulk(snapshot.evaluate_json(body, now=0))
        assert every.keys() == flags.keys()
        assert seen == {key: answer for key, answer in every.items() if key in visible}
