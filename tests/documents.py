"""Flag documents to compare evaluators with: every feature of docs/flag-documents.md, drawn from a Random.

    world = make_world(random.Random(7))
    world.document          {"segments": {"staff": {"when": …}}, "flags": {"checkout": {…}}}
    world.literals          {("country",): ("DE", "FR"), ("devices", "[]", "year"): (17,)}

The order of writing is the order of dependence, so nothing forms a cycle; the keys have another order. What conditions
compare each path with is written down beside the document, for tests/contexts.py to draw near it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tests.conditions import IDS, Path, Writing, condition, some

BY: tuple[Path, ...] = (("targetingKey",), ("account", "id"), ("account", "seats"), ("plan",))


FLAG_KEYS = ("checkout", "a-b", "Zed", "m.n", "banner", "0", "q_r", "dark", *(f"flag-{n}" for n in range(52)))


@dataclass(frozen=True)
class World:
    """A document, and what its conditions look at."""

    document: dict[str, Any]
    literals: dict[Path, tuple[Any, ...]]  # what each path is compared with; elements of lists under (*path, "[]")
    kinds: dict[Path, str]
    times: tuple[int, ...]  # microseconds at which a condition on time may change


def make_world(rng: random.Random, flags: int = 6) -> World:
    """A document of up to so many flags."""
    writing = Writing(rng)
    environments = ["default"] if rng.random() < 0.6 else ["staging", "production"]
    document: dict[str, Any] = {"segments": {}, "flags": {}}
    if len(environments) > 1:
        document["environments"] = environments
    for key in rng.sample(("staff", "beta.users", "a", "z", "EU_1", "vip"), rng.randint(0, 4)):
        document["segments"][key] = _segment(writing, environments)
        writing.segments.append(key)
    for key in rng.sample(FLAG_KEYS, rng.randint(1, flags)):
        writing.chain = 1
        writing.flags[key] = _flag(writing, environments)
        writing.chains[key] = writing.chain
    # the order of writing is the order of dependence; the order of keys is another
    keys = list(writing.flags)
    rng.shuffle(keys)
    document["flags"] = {key: writing.flags[key] for key in keys}
    if not document["segments"]:
        del document["segments"]
    literals = {path: tuple(values) for path, values in writing.literals.items()}
    return World(document, literals, writing.kinds, tuple(writing.times))


# Flags and segments


def _segment(w: Writing, environments: list[str]) -> dict[str, Any]:
    segment = _segment_members(w)
    if w.rng.random() < 0.4:
        segment["by"] = ".".join(w.rng.choice(BY))
    path = tuple(segment.get("by", "targetingKey").split("."))
    if len(environments) > 1 and w.rng.random() < 0.4:
        segment["environments"] = {w.rng.choice(environments): _segment_members(w)}
    for part in (segment, *segment.get("environments", {}).values()):
        w.note(path, "id", *part.get("include", ()), *part.get("exclude", ()))
    return segment


def _segment_members(w: Writing) -> dict[str, Any]:
    segment: dict[str, Any] = {}
    if w.rng.random() < 0.6:
        segment["include"] = w.rng.sample(IDS, w.rng.randint(0, 4))
        if w.rng.random() < 0.1:
            segment["include"] += [f"user-{n}" for n in range(w.rng.choice((20, 300, 3000)))]
    if w.rng.random() < 0.4:
        segment["exclude"] = w.rng.sample(IDS, w.rng.randint(0, 3))
    if w.rng.random() < 0.7:
        segment["when"] = condition(w, 2, flags=False)
    return segment


_VARIANTS: dict[str, tuple[Any, ...]] = {
    "boolean": (True, False),
    "string": ("", "old", "new-v2", 'q"\\\n', "é😀", "\u0000", "m"),
    "integer": (0, 1, -5, 100, 2**53 - 1),
    "number": (0.5, 1, -2.25, 1e21, 1e-7, 100),
    "object": ({}, {"a": [1, None, {"b": "é"}]}, [], [1, "x"], {"z": 1, "a": 2}),
}


def _flag(w: Writing, environments: list[str]) -> dict[str, Any]:
    rng = w.rng
    kind = rng.choice(("boolean", "boolean", "string", "string", "integer", "number", "object"))
    values = list(_VARIANTS[kind])
    rng.shuffle(values)
    names = ("on", "off", "new", "old", "A.1", "b_2", "x")
    count = min(len(values), rng.randint(1, 4))
    flag: dict[str, Any] = {"type": kind, "variants": dict(zip(rng.sample(names, count), values, strict=False))}
    variants = list(flag["variants"])
    flag.update(_flag_members(w, variants))
    if rng.random() < 0.3:
        flag["clientVisible"] = True
    if rng.random() < 0.3:
        flag.update(description="d", owner="o", tags=["t"])
    if len(environments) > 1 and rng.random() < 0.6:
        members = _flag_members(w, variants)
        kept = rng.sample(sorted(members), rng.randint(0, len(members)))
        flag["environments"] = {rng.choice(environments): {name: members[name] for name in kept}}
    return flag


def _flag_members(w: Writing, variants: list[str]) -> dict[str, Any]:
    rng = w.rng
    members: dict[str, Any] = {}
    if rng.random() < 0.15:
        members["enabled"] = rng.random() < 0.3
    if rng.random() < 0.7:
        members["offVariant"] = rng.choice(variants)
    if w.nameable() and rng.random() < 0.25:
        others = rng.sample(w.nameable(), min(len(w.nameable()), rng.randint(1, 2)))
        for other in others:
            w.name(other)
        members["prerequisites"] = [
            {"flag": other, "variants": some(rng, list(w.flags[other]["variants"]))} for other in others
        ]
    rules = []
    for number in range(rng.choice((0, 0, 1, 1, 2, 2, 3, 5))):
        rule: dict[str, Any] = {"when": condition(w, rng.choice((0, 1, 1, 2, 2, 3))), "serve": _serve(w, variants)}
        if rng.random() < 0.3:
            rule["id"] = f"r{number}"
        if rng.random() < 0.3:
            rule["name"] = f"Rule “{number}”"
        rules.append(rule)
    if rules or rng.random() < 0.3:
        members["rules"] = rules
    if rng.random() < 0.85:
        members["fallthrough"] = _serve(w, variants)
    return members


def _serve(w: Writing, variants: list[str]) -> Any:
    rng = w.rng
    if rng.random() < 0.05:
        return None
    if rng.random() < 0.65:
        return rng.choice(variants)
    chosen = rng.sample(variants, rng.randint(1, len(variants)))
    cuts = sorted(
        rng.choice((0, 1, 1000, 20_000, 50_000, 99_999, 100_000, rng.randint(0, 100_000))) for _ in chosen[1:]
    )
    ends = [*cuts, 100_000]
    starts = [0, *cuts]
    split: dict[str, Any] = {
        "split": [
            {"variant": variant, "weight": _weight(end - start)}
            for variant, start, end in zip(chosen, starts, ends, strict=True)
        ]
    }
    by = rng.choice(BY)
    if rng.random() < 0.4:
        split["by"] = ".".join(by)
        w.note(by, "id")
    if rng.random() < 0.4:
        split["salt"] = rng.choice(("s1", "", "é", "checkout"))
    return split


def _weight(buckets: int) -> int | float:
    return buckets // 1000 if buckets % 1000 == 0 else buckets / 1000
