"""Buckets: the published vectors, and what a rollout relies on: uniform, independent between flags, monotone.

tests/spec/buckets.json is frozen for ever. `published()` computes it again with the xxhash package, which shares no
code with the engine; the oracle's own hash is a third opinion. The statistics are over fixed keys: one answer for ever.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from engine import Snapshot, bucket_of, hash64
from rules_compiler import compile_flags
from tests import reference

SPEC: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "spec" / "buckets.json").read_text("utf-8"))
BUCKETS = 100_000
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def published(key: str, salt: str) -> int:
    """docs/semantics.md, "Buckets", with the xxhash package."""
    x = xxhash.xxh64_intdigest(key.encode()) ^ xxhash.xxh64_intdigest(salt.encode())
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD % 2**64
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 % 2**64
    x ^= x >> 33
    return x * BUCKETS >> 64


def test_published_hashes() -> None:
    for vector in SPEC["hash64"]:
        text = vector["text"].encode()
        expected = int(vector["hash"], 16)
        assert xxhash.xxh64_intdigest(text) == expected, vector
        assert hash64(text) == expected, vector
        assert reference.hash64(text) == expected, vector


def test_published_buckets() -> None:
    for vector in SPEC["buckets"]:
        key, salt, bucket = vector["key"], vector["salt"], vector["bucket"]
        assert published(key, salt) == bucket, vector
        assert bucket_of(key, salt) == bucket, vector
        assert reference.bucket_of(key, salt) == bucket, vector


@given(texts, texts)
def test_three_opinions_agree(key: str, salt: str) -> None:
    assert bucket_of(key, salt) == published(key, salt) == reference.bucket_of(key, salt)


@given(st.binary(max_size=200))
def test_hash64_is_xxh64(data: bytes) -> None:
    assert hash64(data) == xxhash.xxh64_intdigest(data) == reference.hash64(data)


# Statistics. `limit` is the quantile of chi-square that a fair hash passes 999 times in 1,000 (Wilson-Hilferty).


def limit(freedom: int, z: float = 3.0902) -> float:
    share = 2 / (9 * freedom)
    return freedom * float((1 - share + z * share**0.5) ** 3)


def chi_square(observed: Sequence[int], expected: Sequence[float]) -> float:
    return sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))


KINDS_OF_KEYS = {
    "counted": [f"user-{n}" for n in range(100_000)],
    "numbers": [str(n) for n in range(100_000)],
    "padded": [f"{n:032d}" for n in range(100_000)],
}


@pytest.mark.parametrize("salt", ["checkout", "a", ""])
@pytest.mark.parametrize("keys", KINDS_OF_KEYS)
def test_buckets_are_uniform(keys: str, salt: str) -> None:
    cells = Counter(bucket_of(key, salt) // 1000 for key in KINDS_OF_KEYS[keys])
    assert chi_square([cells[cell] for cell in range(100)], [1000.0] * 100) < limit(99)


@pytest.mark.parametrize(
    "one, other", [("checkout", "search"), ("flag-1", "flag-2"), ("a", "b"), ("x", "xx"), ("", "0")]
)
def test_flags_are_independent(one: str, other: str) -> None:
    """Being among the first tenths of one flag says nothing about the tenth of another: a 10 x 10 contingency table."""
    keys = KINDS_OF_KEYS["counted"]
    table = Counter((bucket_of(key, one) // 10_000, bucket_of(key, other) // 10_000) for key in keys)
    rows = [sum(table[row, column] for column in range(10)) for row in range(10)]
    columns = [sum(table[row, column] for row in range(10)) for column in range(10)]
    cells = list(itertools.product(range(10), range(10)))
    expected = [rows[row] * columns[column] / len(keys) for row, column in cells]
    assert chi_square([table[cell] for cell in cells], expected) < limit(81)


# Monotone


def split_of(weights: Sequence[int]) -> Snapshot:
    """A flag that splits by thousandths of a percent."""
    split = [{"variant": f"v{n}", "weight": weight / 1000} for n, weight in enumerate(weights)]
    flag = {
        "type": "integer",
        "variants": {f"v{n}": n for n in range(len(weights))},
        "fallthrough": {"split": split, "salt": "monotone"},
    }
    return Snapshot.from_bytes(compile_flags({"flags": {"f": flag}}))


@st.composite
def rollouts(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """Weights, weights after moving some from one variant to its neighbour, and the variant that shrank."""
    cuts = sorted(draw(st.lists(st.integers(0, BUCKETS), min_size=1, max_size=4)))
    before = [end - start for start, end in zip([0, *cuts], [*cuts, BUCKETS], strict=True)]
    grows = draw(st.integers(0, len(before) - 1))
    shrinks = draw(st.sampled_from([n for n in (grows - 1, grows + 1) if 0 <= n < len(before)]))
    moved = draw(st.integers(0, before[shrinks]))
    after = list(before)
    after[grows] += moved
    after[shrinks] -= moved
    return before, after, shrinks


@given(rollouts())
def test_growing_a_variant_moves_only_users_of_its_neighbour(rollout: tuple[list[int], list[int], int]) -> None:
    before, after, shrinks = rollout
    old, new = split_of(before), split_of(after)
    for n in range(200):
        context = {"targetingKey": f"user-{n}"}
        was, is_now = old.evaluate("f", context).variant, new.evaluate("f", context).variant
        assert was == is_now or was == f"v{shrinks}"


@given(rollouts(), texts.filter(bool))
def test_ranges_follow_the_order_written(rollout: tuple[list[int], list[int], int], key: str) -> None:
    weights, _, _ = rollout
    bucket = bucket_of(key, "monotone")
    ends = list(itertools.accumulate(weights))
    expected = next(n for n, end in enumerate(ends) if bucket < end)
    assert split_of(weights).evaluate("f", {"targetingKey": key}).value == expected
