"""The flags that are measured: n flags of three decisions each, and the contexts that ask for them.

    specs(2)     (FlagSpec(key="flag-00000", countries=("IN", "DE", …), minor=8), …)
    document(2)  {"flags": {"flag-00000": {"rules": [{"when": 'country in ["IN", …] && plan == "enterprise"', …}, …]}}}
    contexts()   ({"targetingKey": "user-000000", "country": "XX", "plan": "pro", "app_version": "2.0.0", …}, …)

A flag is on for five of fifteen countries on the enterprise plan; else on from version 2.`minor`.0; else on for a
fifth of the users, by their targeting key. Everything is deterministic: two runs are asked the same questions.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import xxhash

Context = dict[str, Any]
Document = dict[str, Any]

COUNTRIES = ("DE", "FR", "US", "GB", "IN", "BR", "JP", "CN", "ES", "IT", "PL", "SE", "NO", "FI", "DK")
CONTEXTS = 1_000
SPLIT_PERCENT = 20
BOOLEAN = {"on": True, "off": False}
SPLIT = {"split": [{"variant": "on", "weight": SPLIT_PERCENT}, {"variant": "off", "weight": 100 - SPLIT_PERCENT}]}


@dataclass(frozen=True, slots=True)
class FlagSpec:
    """What every engine's document is made from."""

    key: str
    countries: tuple[str, ...]  # five of COUNTRIES
    minor: int  # on from version 2.minor.0; contexts have 2.0.0 … 2.9.0

    @property
    def first_version(self) -> str:
        return f"2.{self.minor}.0"

    def expected(self, context: Context) -> bool | None:
        """The answer, or None where the split decides. Written without any engine, to hold all of them against."""
        if context["country"] in self.countries and context["plan"] == "enterprise":
            return True
        major, minor, patch = (int(part) for part in context["app_version"].split("."))
        return True if (major, minor, patch) >= (2, self.minor, 0) else None


@cache
def specs(count: int) -> tuple[FlagSpec, ...]:
    """`specs(n)` is a prefix of `specs(m)`, n < m."""
    chosen = random.Random(1)
    return tuple(
        FlagSpec(f"flag-{number:05d}", tuple(chosen.sample(COUNTRIES, 5)), chosen.randrange(30))
        for number in range(count)
    )


@cache
def contexts() -> tuple[Context, ...]:
    return tuple(
        {
            "targetingKey": f"user-{number * 7919 % 1_000_000:06d}",
            "country": ("XX", *COUNTRIES)[number % 16],
            "plan": "enterprise" if number % 3 else "pro",
            "app_version": f"2.{number % 10}.0",
            "age": 20 + number % 50,
            "beta": bool(number & 1),
            "email": f"someone{number}@example.com",
            "device": "ios",
        }
        for number in range(CONTEXTS)
    )


@cache
def bodies() -> tuple[bytes, ...]:
    """The contexts as OFREP request bodies."""
    return tuple(msgspec.json.encode({"context": context}) for context in contexts())


@cache
def answers(count: int) -> tuple[tuple[tuple[bool, str], ...], ...]:
    """Value and reason, per context and flag: what docs/semantics.md says, in plain Python."""
    salts = [(spec, xxhash.xxh64_intdigest(spec.key.encode())) for spec in specs(count)]
    answered = []
    for context in contexts():
        key = xxhash.xxh64_intdigest(context["targetingKey"].encode())
        row = []
        for spec, salt in salts:
            if spec.expected(context):
                row.append((True, "TARGETING_MATCH"))
            else:
                row.append((mix(key ^ salt) * 100_000 >> 64 < SPLIT_PERCENT * 1_000, "SPLIT"))
        answered.append(tuple(row))
    return tuple(answered)


def mix(x: int) -> int:
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & 0xFFFFFFFFFFFFFFFF
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 & 0xFFFFFFFFFFFFFFFF
    return x ^ x >> 33


def document(count: int, *, split_as_rule: bool = False) -> Document:
    """The split is the fallthrough, or, with `split_as_rule`, what a third rule with a condition of its own serves."""
    return {"flags": {spec.key: flag_of(spec, split_as_rule=split_as_rule) for spec in specs(count)}}


def flag_of(spec: FlagSpec, *, split_as_rule: bool = False) -> Document:
    listed = ", ".join(f'"{country}"' for country in spec.countries)
    rules: list[Document] = [
        {"id": "countries", "when": f'country in [{listed}] && plan == "enterprise"', "serve": "on"},
        {"id": "versions", "when": f'semver(app_version) >= semver("{spec.first_version}")', "serve": "on"},
    ]
    if split_as_rule:
        rules.append({"id": "share", "when": "has(targetingKey)", "serve": SPLIT})
    return {
        "type": "boolean",
        "variants": BOOLEAN,
        "offVariant": "off",
        "rules": rules,
        "fallthrough": "off" if split_as_rule else SPLIT,
    }


def id_list_document(ids: int) -> Document:
    """One flag over a segment of `ids` ids, among which is every second context."""
    members = [context["targetingKey"] for context in contexts()[::2]]
    strangers = (f"m-{number:07d}" for number in range(ids - len(members)))
    return {
        "segments": {"members": {"include": [*members, *strangers]}},
        "flags": {
            "members-only": {
                "type": "boolean",
                "variants": BOOLEAN,
                "rules": [{"id": "members", "when": 'segment("members")', "serve": "on"}],
                "fallthrough": "off",
            }
        },
    }
