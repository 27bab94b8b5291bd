"""Contexts for a generated document: its own literals, their neighbours, and values of every wrong kind.

make_context(world, rng)            {"targetingKey": "u-3", "age": 18.000001, "app": {"version": "v2.3.0-rc.1"}}
make_now(world, rng)                1767225600001, a millisecond after a condition on time changed
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from typing import Any

from tests.conditions import (
    ADDRESSES,
    ELEMENT,
    IDS,
    NOW,
    NUMBERS,
    VERSIONS,
    WORDS,
    Path,
    time_literal,
    time_text,
)
from tests.documents import World

# What nothing compares well with.
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    1.5,
    "",
    "x",
    [],
    [None],
    ["x", 1, True],
    {},
    {"x": None},
    {"os": 1},
    [[]],
    [{}],
    2**53,
    -(2**53),
    2**64,
    10**30,
    9007199254740992.0,
    -0.0,
    1e308,
    5e-324,
    "1",
    "01",
    "NaN",
    "\u0000",
)
UNUSABLE_IN_PYTHON: tuple[Any, ...] = (
    float("nan"),
    float("inf"),
    float("-inf"),
    "\ud800",
    "a\udfffb",
    b"bytes",
    {1, 2},
    1j,
)


def make_context(world: World, rng: random.Random, python_only: bool = False) -> dict[str, Any]:
    """A context that hits what the document asks about. `python_only` also draws what JSON cannot write."""
    context: dict[str, Any] = {}
    if rng.random() < 0.9:
        _put(context, ("targetingKey",), _key(world, rng, ("targetingKey",)))
    if rng.random() < 0.6:
        _put(context, ("account", "id"), _key(world, rng, ("account", "id")))
    for path, kind in world.kinds.items():
        if "[]" in path or rng.random() < 0.12:
            continue
        if rng.random() < 0.1:
            odd = rng.choice(UNUSABLE_IN_PYTHON) if python_only and rng.random() < 0.3 else rng.choice(ODD)
            _put(context, path[: rng.randint(1, len(path))], odd)
        else:
            _put(context, path, value_of(world, rng, path, kind))
    if rng.random() < 0.1:
        context[rng.choice(("unread", "", "a.b", "é"))] = rng.choice(ODD)
    return context


def _put(context: dict[str, Any], path: Path, value: Any) -> None:
    for member in path[:-1]:
        inner = context.setdefault(member, {})
        if not isinstance(inner, dict):
            return
        context = inner
    context[path[-1]] = value


def _key(world: World, rng: random.Random, path: Path) -> Any:
    draw = rng.random()
    if draw < 0.06:
        return rng.choice(ODD)
    if draw < 0.2:
        return rng.choice((42, 7, -3, 7.0, 1000, 1e3, 2**53 - 1, -0.0, 0))
    return (
        rng.choice(world.literals.get(path) or IDS)
        if draw < 0.6
        else f"user-{rng.randint(0, rng.choice((3500, 10**6)))}"
    )


def value_of(world: World, rng: random.Random, path: Path, kind: str) -> Any:
    """A value near what this path is compared with."""
    literals: Sequence[Any] = world.literals.get(path, ())
    match kind:
        case "string":
            return _near_string(rng, literals)
        case "number":
            return _near_number(rng, literals)
        case "boolean":
            return rng.random() < 0.5
        case "id":
            return _key(world, rng, path)
        case "version":
            return _near_version(rng, literals)
        case "time":
            return _near_time(rng, literals)
        case "address":
            return _near_address(rng, literals)
    return [_element(world, rng, path, kind) for _ in range(rng.choice((0, 1, 1, 2, 3, 5)))]


def _element(world: World, rng: random.Random, path: Path, kind: str) -> Any:
    base = (*path, "[]")
    if rng.random() < 0.08:
        return rng.choice(ODD)
    if kind in ("strings", "numbers", "booleans"):
        return value_of(world, rng, base, kind[:-1])
    if kind == "lists":
        return value_of(world, rng, base, "numbers")
    element = {}
    for inner, (name,) in ELEMENT.items():
        if rng.random() < 0.8:
            element[name] = value_of(world, rng, (*base, name), inner)
    if rng.random() < 0.5:
        element["tags"] = value_of(world, rng, (*base, "tags"), "strings")
    return element


def _near_string(rng: random.Random, literals: Sequence[Any]) -> Any:
    strings = [literal for literal in literals if isinstance(literal, str)]
    word = rng.choice(strings) if strings and rng.random() < 0.8 else rng.choice(WORDS)
    draw = rng.random()
    if draw < 0.55:
        return word
    return rng.choice(
        (word + "x", "x" + word, word[1:], word[:-1], word.upper(), word.lower(), word + "\0", word + word, " " + word)
    )


def _near_number(rng: random.Random, literals: Sequence[Any]) -> Any:
    numbers = [n for n in literals if isinstance(n, (int, float)) and not isinstance(n, bool)]
    number = rng.choice(numbers) if numbers and rng.random() < 0.8 else rng.choice(NUMBERS)
    draw = rng.random()
    if draw < 0.5:
        return number
    if draw < 0.6 and float(number).is_integer():
        return float(number)
    return rng.choice((number + 1, number - 1, number + 0.5, number * (1 + 2**-50), -number, number * 2))


def _near_version(rng: random.Random, literals: Sequence[Any]) -> str:
    strings = [literal for literal in literals if isinstance(literal, str)]
    version = rng.choice(strings) if strings and rng.random() < 0.7 else rng.choice(VERSIONS)
    if rng.random() < 0.45:
        return version
    return rng.choice(
        (
            f"v{version}",
            f"{version}.1",
            f"{version}-rc.1",
            f"{version}+b",
            f"{version}.x",
            f"0{version}",
            version[:-1],
            f"{version}0",
            f"{version}-",
            f"{version}{'.x' * 40}",
            f"{version}+{'b' * 100}",
            version.replace(".", "..", 1),
            version.split("-")[0],
            version.upper(),
        )
    )


def _near_time(rng: random.Random, literals: Sequence[Any]) -> Any:
    times = [literal for literal in literals if isinstance(literal, int)]
    micros = rng.choice(times) if times and rng.random() < 0.85 else time_literal(rng)
    micros += rng.choice((0, 0, 0, 1, -1, 1000, -1000, 1_000_000, -1_000_000))
    draw = rng.random()
    if draw < 0.5:
        return time_text(micros, rng.choice((0, 0, 60, -330, 840)))
    if draw < 0.75:
        return micros // 1_000_000
    if draw < 0.85:
        return rng.choice((micros // 1_000_000 + rng.choice((0.5, 0.25, 0.125)), micros / 1e6, micros / 1e6 + 6e-7))
    written = time_text(micros)
    return rng.choice(
        (
            written[:-1],
            written.replace("T", " "),
            written.replace("T", "t").replace("Z", "z"),
            written.replace("Z", "+24:00"),
            written[:-1] + "9999Z" if "." in written else written[:-1] + ".9999999Z",
            written[:-1] + ("9" if "." in written else ".9") * 60 + "Z",
            "2025-02-30T00:00:00Z",
            "2025-12-31T23:59:60Z",
            "",
            1e11,
            -1e11,
            1e12,
        )
    )


def _near_address(rng: random.Random, literals: Sequence[Any]) -> Any:
    addresses = [
        literal for literal in literals if isinstance(literal, str) and (":" in literal or literal.count(".") == 3)
    ]
    near = rng.choice(addresses) if addresses and rng.random() < 0.8 else rng.choice(ADDRESSES)
    network = ipaddress.ip_network(near)
    first, size = int(network.network_address), network.num_addresses
    number = rng.choice((first, first + size - 1, first - 1, first + size, first + size // 2))
    bits = 32 if network.version == 4 else 128
    number = max(0, min(2**bits - 1, number))
    written = str(ipaddress.ip_address(number) if bits == 32 else ipaddress.IPv6Address(number))
    draw = rng.random()
    if draw < 0.7:
        return written
    if draw < 0.85 and bits == 32:
        return f"::ffff:{written}"
    if draw < 0.9 and bits == 128:
        return ipaddress.IPv6Address(number).exploded.upper()
    return rng.choice(
        (f"0{written}", f"{written}/32", f"{written} ", f"{written}%eth0", f"{written}.1", written[:-1], "localhost")
    )


def make_now(world: World, rng: random.Random) -> int:
    """Milliseconds: now and then where a condition on time changes."""
    if world.times and rng.random() < 0.6:
        return rng.choice(world.times) // 1000 + rng.choice((0, 0, 1, -1, 2))
    return NOW + rng.choice((0, 0, 0, 1, -1, 86_400_000, -86_400_000, rng.randint(-(10**10), 10**10)))
