"""Conditions in CEL, drawn from a Random: every atom of docs/semantics.md over a small pool of attributes.

    writing = Writing(random.Random(7))
    condition(writing, depth=1)     '(semver(app.version) >= semver("1.2")) || (!("pro" in tags))'
    writing.literals                {("app", "version"): ["1.2"], ("tags", "[]"): ["pro"]}

A small pool makes conditions meet: rules that overlap, contradict and shadow each other.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
Path = tuple[str, ...]

MAX_CHAIN = 16
MANY = tuple(f"w{n}" for n in range(300))
NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# What a path usually holds. Every now and then a condition treats it as something else.
ATTRIBUTES: dict[str, tuple[Path, ...]] = {
    "string": (
        ("country",),
        ("plan",),
        ("email",),
        ("user", "profile", "city"),
        ("account", "plan"),
        ("locale",),
        ("targetingKey",),
        ("user",),
    ),  # an object at times
    "number": (("age",), ("cart", "total"), ("account", "seats"), ("score",)),
    "boolean": (("beta",), ("account", "trial"), ("user", "admin")),
    "version": (("app", "version"), ("os", "version")),
    "time": (("created",), ("account", "since")),
    "address": (("ip",), ("net", "addr")),
    "strings": (("tags",), ("account", "roles")),
    "numbers": (("scores",),),
    "booleans": (("switches",),),
    "objects": (("devices",), ("cart", "items")),
    "lists": (("matrix",),),
}
ELEMENT: dict[str, Path] = {
    "string": ("os",),
    "number": ("year",),
    "boolean": ("rooted",),
    "version": ("build",),
    "time": ("seen",),
    "address": ("addr",),
}

WORDS = (
    "",
    "DE",
    "FR",
    "de",
    "beta",
    "pro",
    "a@example.com",
    "b@example.org",
    "Zürich",
    "ß",
    "東京",
    "😀",
    "a b",
    "x" * 40,
    "e\u0301",
    "tab\tnew\nline",
    "quote\"'\\",
    "nul\0l",
    "1",
    "true",
    "null",
    "İ",
    "\uff61",
    "É",
    "k",
    "\u212a",
    "x" * 63 + "Ab",
    "Ä" * 70,
)
NUMBERS = (0, 1, -1, 2, 17, 18, 65, 100, 0.1, 0.5, -2.5, 1e-7, 1e21, 12345678.9, 2**53 - 1, -(2**53) + 1)
VERSIONS = tuple(
    "0 1 1.2 1.2.3 2.0.0-rc.1 2.0.0-alpha 2.0.0-alpha.1 2.0.0-alpha.beta 2.0.0 v2.3.0 2.3.0+build.7 10.0.0"
    " 1.0.0-99999999999999999999 4294967294.0.0 1.0.0-- 1.0.0-a-b".split()
)
ADDRESSES = tuple("10.0.0.1 10.255.255.255 192.168.1.7 0.0.0.0 255.255.255.255 ::1 2001:db8::7 ::ffff:10.0.0.1".split())
NETWORKS = tuple(
    "10.0.0.0/8 10.1.0.0/16 192.168.1.0/24 10.0.0.1/32 0.0.0.0/0 2001:db8::/32 ::1/128 ::/0 ::ffff:0:0/96"
    " 2001:db8:8000::/33".split()
)
REGEXES = (
    *r"^a e$ [0-9]+ (?i)^de$ ^.*@example\.com$ ^[^@]+@ a|b|ß ^$ \bx (a+)+$ ^.{2,3}$ \d{1,3} [^a-z] \pL+".split(),
    "",
)
IDS = (*(f"u-{i}" for i in range(12)), "", "42", "7", "-3", "é", "1e3")
DURATIONS = (("1h", 3600.0), ("24h", 86400.0), ("90m", 5400.0), ("1.5s", 1.5), ("500ms", 0.5), ("720h", 2592000.0))


@dataclass
class Writing:
    """One document being written."""

    rng: random.Random
    literals: dict[Path, list[Any]] = field(default_factory=dict)
    kinds: dict[Path, str] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)
    segments: list[str] = field(default_factory=list)  # that may be named from here
    flags: dict[str, dict[str, Any]] = field(default_factory=dict)
    chains: dict[str, int] = field(default_factory=dict)  # how many flags wait for one another, up to this one
    chain: int = 1  # of the flag being written

    def note(self, path: Path, kind: str, *literals: Any) -> None:
        self.kinds.setdefault(path, kind)
        self.literals.setdefault(path, []).extend(literals)

    def nameable(self) -> list[str]:
        """Flags that may be named from here without too long a chain."""
        return [key for key in sorted(self.flags) if self.chains[key] < MAX_CHAIN]

    def name(self, key: str) -> None:
        self.chain = max(self.chain, self.chains[key] + 1)


def some(rng: random.Random, items: list[T]) -> list[T]:
    return rng.sample(items, rng.randint(1, len(items)))


def condition(w: Writing, depth: int, flags: bool = True, variables: tuple[str, ...] = ()) -> str:
    """CEL text with so many levels of operators; `variables` are those of the quantifiers around, as ("x:objects",)."""
    rng = w.rng
    if depth <= 0 or rng.random() < 0.15:
        return _atom(w, flags, variables)
    form = rng.random()
    part = functools.partial(condition, w, depth - 1, flags, variables)
    if form < 0.4:
        return " && ".join(f"({part()})" for _ in range(rng.randint(2, 3)))
    if form < 0.75:
        return " || ".join(f"({part()})" for _ in range(rng.randint(2, 3)))
    if form < 0.9:
        return f"!({part()})"
    return f"({part()}) ? ({part()}) : ({part()})"


def _atom(w: Writing, flags: bool, variables: tuple[str, ...]) -> str:
    rng = w.rng
    draw = rng.random()
    if flags and w.nameable() and rng.random() < 0.08:
        return _flag_atom(w)
    if w.segments and draw < (0.02 if variables else 0.16):
        return f'segment("{rng.choice(w.segments)}")'
    if draw < (0.04 if variables else 0.19):
        return _now_atom(w)
    if draw < (0.06 if variables else 0.22):
        return rng.choice(("true", "false"))
    if variables and draw < 0.85:
        return _element_atom(w, variables)
    kind = rng.choice(tuple(ATTRIBUTES)) if draw < 0.6 else rng.choice(("string", "number", "boolean", "version"))
    path = rng.choice(ATTRIBUTES[kind])
    if rng.random() < 0.03:
        kind = rng.choice(("string", "number", "boolean", "strings"))  # not what it usually holds
    if kind in ("strings", "numbers", "booleans", "objects", "lists"):
        return _list_atom(w, ".".join(path), path, kind, variables)
    return _plain_atom(w, ".".join(path), path, kind)


def text(value: Any) -> str:
    """A CEL literal."""
    if isinstance(value, str):
        escaped = json.dumps(value, ensure_ascii=False)
        return escaped.replace("\u007f", "\\u007f")
    return json.dumps(value)


def _plain_atom(w: Writing, name: str, path: Path, kind: str) -> str:
    rng = w.rng
    if rng.random() < 0.08 and "." in name:
        w.note(path, kind)
        return f"has({name})"
    writers: dict[str, Callable[[Writing, str, Path], str]] = {
        "string": _string_atom,
        "number": _number_atom,
        "boolean": _boolean_atom,
        "version": _version_atom,
        "time": _time_atom,
        "address": _address_atom,
    }
    return writers[kind](w, name, path)


def _other(w: Writing, path: Path, kind: str) -> str | None:
    """Another attribute of the kind, of the context, at times."""
    others = [p for p in ATTRIBUTES[kind] if p != path]
    if not others or w.rng.random() >= 0.12:
        return None
    other = w.rng.choice(others)
    w.note(other, kind)
    w.note(path, kind)
    return ".".join(other)


def _string_atom(w: Writing, name: str, path: Path) -> str:
    rng = w.rng
    other = _other(w, path, "string")
    lowered = f"lower({name})" if rng.random() < 0.25 else name
    if other is not None:
        return f"{lowered} {rng.choice(('==', '!=', '<', '>='))} {other}"
    word = rng.choice(WORDS)
    w.note(path, "string", word)
    form = rng.randint(0, 9)
    if form <= 2:
        return f"{lowered} {rng.choice(('==', '!='))} {text(word)}"
    if form == 3:
        words = rng.sample(WORDS, rng.randint(1, 5)) + (
            rng.sample(MANY, rng.randint(1, 300)) if rng.random() < 0.1 else []
        )
        w.note(path, "string", *words)
        return f"{lowered} in [{', '.join(map(text, words))}]"
    if form == 4:
        return f"{lowered} {rng.choice(('<', '<=', '>', '>='))} {text(word)}"
    if form == 5:
        regex = rng.choice(REGEXES)
        return f"{lowered}.matches({text(regex)})"
    if form == 6:
        size = rng.choice((0, 1, 2, len(word)))
        w.note(path, "string", "é" * size)
        return f"size({name}) {rng.choice(('==', '!=', '<', '<=', '>', '>='))} {size}"
    start, end = sorted((rng.randint(0, len(word)), rng.randint(0, len(word))))
    part = word[start:end]
    w.note(path, "string", part, part + word, word + part)
    return f"{lowered}.{('startsWith', 'endsWith', 'contains')[form - 7]}({text(part)})"


def _number_atom(w: Writing, name: str, path: Path) -> str:
    rng = w.rng
    other = _other(w, path, "number")
    op = rng.choice(("==", "!=", "<", "<=", ">", ">="))
    if other is not None:
        return f"{name} {op} {other}"
    number = rng.choice(NUMBERS)
    w.note(path, "number", number)
    form = rng.random()
    if form < 0.2:
        numbers = rng.sample(NUMBERS, rng.randint(1, 4))
        w.note(path, "number", *numbers)
        return f"{name} in [{', '.join(map(text, numbers))}]"
    return f"{text(number)} {op} {name}" if form < 0.3 else f"{name} {op} {text(number)}"


def _boolean_atom(w: Writing, name: str, path: Path) -> str:
    rng = w.rng
    w.note(path, "boolean", True, False)
    other = _other(w, path, "boolean")
    if other is not None:
        return f"{name} {rng.choice(('==', '!='))} {other}"
    return rng.choice((name, name, f"!{name}", f"{name} == true", f"{name} == false", f"{name} != true"))


def _version_atom(w: Writing, name: str, path: Path) -> str:
    rng = w.rng
    op = rng.choice(("==", "!=", "<", "<=", ">", ">="))
    other = _other(w, path, "version")
    if other is not None:
        return f"semver({name}) {op} semver({other})"
    version = rng.choice(VERSIONS)
    w.note(path, "version", version)
    return f"semver({name}) {op} semver({text(version)})"


def _time_atom(w: Writing, name: str, path: Path) -> str:
    rng = w.rng
    op = rng.choice(("==", "!=", "<", "<=", ">", ">="))
    written, seconds = rng.choice(DURATIONS)
    sign = rng.choice("+-")
    offset = round(seconds * 1_000_000) * (1 if sign == "+" else -1)
    other = _other(w, path, "time")
    if other is not None:
        plus = f" {sign} duration({text(written)})" if rng.random() < 0.5 else ""
        return f"timestamp({name}) {op} timestamp({other}){plus}"
    micros = time_literal(rng)
    form = rng.random()
    if form < 0.35:
        w.note(path, "time", micros)
        return f"timestamp({name}) {op} timestamp({text(time_text(micros))})"
    w.note(path, "time", NOW * 1000, NOW * 1000 + offset, NOW * 1000 - offset)
    w.times.append(micros)
    if form < 0.5:
        return f"timestamp({name}) {op} now"
    if form < 0.75:
        return f"timestamp({name}) {sign} duration({text(written)}) {op} now"
    return f"now {sign} duration({text(written)}) {op} timestamp({name})"


def _now_atom(w: Writing) -> str:
    micros = time_literal(w.rng)
    w.times.append(micros)
    op = w.rng.choice(("==", "!=", "<", "<=", ">", ">="))
    if w.rng.random() < 0.3:
        return f"timestamp({text(time_text(micros))}) {op} now"
    return f"now {op} timestamp({text(time_text(micros))})"


def time_literal(rng: random.Random) -> int:
    return NOW * 1000 + rng.choice(
        (0, 1, 999, 1000, -1000, 3_600_000_000, -86_400_000_000, rng.randint(-(10**13), 10**13))
    )


def time_text(micros: int, zone_minutes: int = 0) -> str:
    moment = EPOCH + timedelta(microseconds=micros, minutes=zone_minutes)
    zone = f"{'-' if zone_minutes < 0 else '+'}{abs(zone_minutes) // 60:02}:{abs(zone_minutes) % 60:02}"
    return moment.replace(tzinfo=None).isoformat() + (zone if zone_minutes else "Z")


def _address_atom(w: Writing, name: str, path: Path) -> str:
    rng = w.rng
    form = rng.random()
    if form < 0.3:
        address = rng.choice(ADDRESSES)
        w.note(path, "address", address)
        return f"ip({name}) {rng.choice(('==', '!='))} ip({text(address)})"
    networks = rng.sample(NETWORKS, rng.randint(1, 3))
    w.note(path, "address", *networks)
    cidrs = [f"cidr({text(network)})" for network in networks]
    return f"ip({name}) in {cidrs[0]}" if form < 0.6 else f"ip({name}) in [{', '.join(cidrs)}]"


def _list_atom(w: Writing, name: str, path: Path, kind: str, variables: tuple[str, ...]) -> str:
    rng = w.rng
    w.note(path, kind)
    form = rng.random()
    if form < 0.15:
        return f"size({name}) {rng.choice(('==', '<', '>', '>='))} {rng.choice((0, 1, 2, 3))}"
    if kind in ("strings", "numbers", "booleans") and form < 0.55:
        element = rng.choice({"strings": WORDS, "numbers": NUMBERS, "booleans": (True, False)}[kind])
        w.note((*path, "[]"), kind[:-1], element)
        return f"{text(element)} in {name}"
    if len(variables) >= 2:
        return f"size({name}) > 1"
    variable = ("x", "y")[len(variables)]
    body = condition(w, rng.choice((0, 0, 1)), False, (*variables, f"{variable}:{kind}:{'.'.join(path)}"))
    return f"{name}.{rng.choice(('exists', 'all'))}({variable}, {body})"


def _element_atom(w: Writing, variables: tuple[str, ...]) -> str:
    """About the element of a quantifier."""
    rng = w.rng
    variable, kind, owner = rng.choice(variables).split(":")
    base = (*owner.split("."), "[]")
    if kind in ("strings", "numbers", "booleans"):
        return _plain_atom(w, variable, base, kind[:-1])
    if kind == "lists":
        if len(variables) < 2:
            return _list_atom(w, variable, base, "numbers", variables)
        return f"{rng.choice((0, 1, 18))} in {variable}"
    inner = rng.choice(tuple(ELEMENT))
    if rng.random() < 0.15 and len(variables) < 2:
        return _list_atom(w, f"{variable}.tags", (*base, "tags"), "strings", variables)
    return _plain_atom(w, f"{variable}.{'.'.join(ELEMENT[inner])}", (*base, *ELEMENT[inner]), inner)


def _flag_atom(w: Writing) -> str:
    rng = w.rng
    key = rng.choice(w.nameable())
    w.name(key)
    flag = w.flags[key]
    call, kind = f'flag("{key}")', flag["type"]
    if kind == "boolean":
        return rng.choice((call, f"!{call}", f"{call} == true", f"{call} != true", f"{call} == false"))
    if kind == "object":
        return rng.choice(("true", "false"))
    values = list(flag["variants"].values())
    value = rng.choice(values)
    form = rng.random()
    if form < 0.4:
        return f"{call} {rng.choice(('==', '!='))} {text(value)}"
    if form < 0.7:
        return f"{call} in [{', '.join(map(text, some(rng, values)))}]"
    return f"{call} {rng.choice(('<', '<=', '>', '>='))} {text(value)}"
