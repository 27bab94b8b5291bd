"""The oracle: docs/semantics.md as the slowest program that can be read beside it.

    evaluate(environment, "checkout", {"targetingKey": "u-1", "country": "DE"}, now=1_767_225_600_000)
    -> Answer(value="new-v2", variant="new", reason="SPLIT", error_code=None, metadata={})

It walks the intermediate representation as the front end made it, before any pass, and shares no code with the
compiler or the engine: no classes, no tables, no cache. A truth is `True`, `False` or `None` (unknown).
"""

from __future__ import annotations

import functools
import ipaddress
import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import re2

from rules_compiler import ir

Truth = bool | None
MAX_SAFE = 2**53 - 1
MAX_ELEMENTS = 4096
MAX_INNER_ELEMENTS = 64  # of a list that is looked into for each element of another


@dataclass(frozen=True)
class Answer:
    value: Any
    variant: str | None
    reason: str
    error_code: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def evaluate(environment: ir.Environment, flag_key: str, context: Mapping[str, Any], now: int) -> Answer:
    """One flag; `now` is milliseconds since the epoch."""
    return _World(environment, context, now).answer(flag_key)


def evaluate_all(environment: ir.Environment, context: Mapping[str, Any], now: int) -> dict[str, Answer]:
    world = _World(environment, context, now)
    return {flag.key: world.answer(flag.key) for flag in environment.flags}


def truth_of(
    expr: ir.Expr, context: Mapping[str, Any], now: int = 0, environment: ir.Environment | None = None
) -> Truth:
    """The truth of one condition."""
    return _World(environment or ir.Environment("none", (), {}, {}), context, now).condition(expr)


# Values


def kind_of(value: Any) -> str:
    """missing, boolean, number, unusable, string, list or object.

    >>> [kind_of(v) for v in (None, True, 1, 2**53, 2.0**53, float("nan"), "a", chr(0xD800))]
    ['missing', 'boolean', 'number', 'unusable', 'number', 'unusable', 'string', 'unusable']
    """
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "number" if abs(value) <= MAX_SAFE else "unusable"
    if isinstance(value, float):
        return "number" if math.isfinite(value) else "unusable"
    if isinstance(value, str):
        return "string" if _has_utf8(value) else "unusable"
    if isinstance(value, (list, tuple)):
        return "list" if len(value) <= MAX_ELEMENTS else "unusable"
    return "object" if isinstance(value, Mapping) else "unusable"


def _has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def value_at(root: Any, path: Sequence[str]) -> Any:
    """What a path leads to; None (missing) where it leads through something that is not an object."""
    for member in path:
        if not isinstance(root, Mapping):
            return None
        root = root.get(member)
    return root


def id_text(value: Any) -> str | None:
    """A string, or an exact integer as its decimal text: what id lists and bucketing read."""
    kind = kind_of(value)
    if kind == "string":
        return str(value)
    if kind == "number" and value == int(value) and abs(value) <= MAX_SAFE:
        return str(int(value))
    return None


def lower(text: str) -> str:
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


# Readings: the text or value of an operand as something that can be ordered, or None where it cannot be read so


_NUMBER = r"(0|[1-9][0-9]*)"
_IDENTIFIER = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"v?{_NUMBER}(?:\.{_NUMBER}(?:\.{_NUMBER}(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?)?)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)


def read_version(text: str) -> tuple[Any, ...] | None:
    """A key that sorts as SemVer 2.0.0 section 11 says.

    >>> read_version("v1.2") == read_version("1.2.0+build.7"), read_version("1.2.0-rc.1") < read_version("1.2.0")
    (True, True)
    """
    match = _VERSION.fullmatch(text)
    if match is None:
        return None
    parts = tuple(int(match[i] or 0) for i in (1, 2, 3))
    if any(part >= 2**32 - 1 for part in parts):
        return None
    if match[4] is None:
        return (*parts, 1, ())  # a release comes after its pre-releases
    identifiers = tuple((0, int(i), "") if i.isdigit() else (1, 0, i) for i in match[4].split("."))
    return (*parts, 0, identifiers)


_RFC_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_time(value: Any) -> int | None:
    """Microseconds since the epoch of an RFC 3339 string or a number of seconds.

    >>> read_time("1970-01-01T01:00:00.0000019+01:00"), read_time(-0.5), read_time("1970-01-01")
    (1, -500000, None)
    """
    kind = kind_of(value)
    if kind == "number":
        return math.floor(value * 1_000_000) if abs(value) <= 1e11 else None
    match = _RFC_3339.fullmatch(value) if kind == "string" else None
    if match is None:
        return None
    zone_hours, zone_minutes = int(match[9] or 0), int(match[10] or 0)
    if zone_hours > 23 or zone_minutes > 59:
        return None
    try:
        year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
        local = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    zone = (zone_hours * 60 + zone_minutes) * (-60_000_000 if match[8] == "-" else 60_000_000)
    fraction = int(((match[7] or "") + "000000")[:6])
    return (local - _EPOCH) // timedelta(microseconds=1) - zone + fraction


def read_address(text: str) -> int | None:
    """A 128-bit number; IPv4 as its v4-mapped IPv6 address.

    >>> read_address("10.0.0.1") == read_address("::ffff:a00:1"), read_address("::1%eth0"), read_address("010.0.0.1")
    (True, None, None)
    """
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return int(address) if address.version == 6 else int(address) + (0xFFFF << 32)


def in_network(address: int, network: str) -> bool:
    parsed = ipaddress.ip_network(network)
    first = int(parsed.network_address) + (0xFFFF << 32 if parsed.version == 4 else 0)
    return first <= address < first + parsed.num_addresses


@functools.cache
def _regex(pattern: str) -> Any:
    return re2.compile(pattern)


# Truth


def _not(truth: Truth) -> Truth:
    return None if truth is None else not truth


def _and(truths: Iterable[Truth]) -> Truth:
    seen = list(truths)
    return False if False in seen else None if None in seen else True


def _or(truths: Iterable[Truth]) -> Truth:
    seen = list(truths)
    return True if True in seen else None if None in seen else False


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


def scopes_of(node: Any) -> set[int]:
    """The scopes of all operands below a node."""
    if isinstance(node, ir.Operand):
        return {node.scope}
    if isinstance(node, tuple):
        return set().union(*map(scopes_of, node))
    if isinstance(node, ir.Node):
        return set().union(*(scopes_of(getattr(node, name)) for name in node.__struct_fields__))
    return set()


class _World:
    """One environment, context and time."""

    def __init__(self, environment: ir.Environment, context: Mapping[str, Any], now: int) -> None:
        self.environment = environment
        self.context = context
        self.now = now * 1000  # microseconds
        self.flags = {flag.key: flag for flag in environment.flags}

    # `scopes` holds the context, then the elements of the quantifiers around.

    def raw(self, operand: ir.Operand, scopes: Sequence[Any]) -> Any:
        return value_at(scopes[operand.scope], operand.path)

    def read(self, operand: ir.Operand, scopes: Sequence[Any]) -> tuple[str, Any]:
        """What an operand reads: (what it may be compared with, the value); ("", None) where it cannot be read so."""
        nothing = ("", None)
        if operand.via is ir.Via.NOW:
            return "time", self.now
        value = self.raw(operand, scopes)
        kind = kind_of(value)
        result: Any
        match operand.via:
            case ir.Via.VALUE:
                return (kind, value) if kind in ("boolean", "number", "string") else nothing
            case ir.Via.LOWER:
                return ("string", lower(value)) if kind == "string" else nothing
            case ir.Via.SIZE:
                return ("number", len(value)) if kind in ("string", "list", "object") else nothing
            case ir.Via.SEMVER:
                result = read_version(value) if kind == "string" else None
                return ("version", result) if result is not None else nothing
            case ir.Via.TIMESTAMP:
                result = read_time(value)
                return ("time", result) if result is not None else nothing
            case ir.Via.IP:
                result = read_address(value) if kind == "string" else None
                return ("address", result) if result is not None else nothing
        raise AssertionError(operand.via)

    def condition(self, expr: ir.Expr) -> Truth:
        """The truth of a whole condition."""
        return self.truth(expr, (self.context,))

    def truth(self, expr: ir.Expr, scopes: Sequence[Any]) -> Truth:
        match expr:
            case ir.Constant(value=value):
                return value
            case ir.And(items=items):
                return _and(self.truth(item, scopes) for item in items)
            case ir.Or(items=items):
                return _or(self.truth(item, scopes) for item in items)
            case ir.Not(item=item):
                return _not(self.truth(item, scopes))
            case ir.Choice(test=test, then=then, otherwise=otherwise):
                chosen = self.truth(test, scopes)
                return None if chosen is None else self.truth(then if chosen else otherwise, scopes)
            case ir.SegmentIs(segment=segment):
                return self.truth(self.environment.segments[segment].when, (self.context,))
            case ir.FlagIs(flag=flag, variants=variants):
                gave = self.answer(flag).variant
                return None if gave is None else gave in variants
            case ir.Has(operand=operand):
                return self.raw(operand, scopes) is not None
            case ir.In(operand=operand, values=values):
                kind, value = self.read(operand, scopes)
                return value in values if kind == kind_of(values[0]) else None
            case ir.InIds(operand=operand, ids=ids):
                text = id_text(self.raw(operand, scopes))
                return None if text is None else text in self.environment.ids[ids]
            case ir.InNetworks(operand=operand, networks=networks):
                _, address = self.read(operand, scopes)
                return None if address is None else any(in_network(address, network) for network in networks)
            case ir.Compare(operand=operand, op=op, value=constant):
                return self.compare(self.read(operand, scopes), op, self.read_constant(operand.via, constant))
            case ir.CompareOperands(left=left, op=op, right=right, offset=offset):
                kind, value = self.read(right, scopes)
                return self.compare(self.read(left, scopes), op, (kind, value + offset if kind == "time" else value))
            case ir.Text(operand=operand, test=test, pattern=pattern):
                kind, text = self.read(operand, scopes)
                return self.text(text, test, pattern) if kind == "string" else None
            case ir.Contains(operand=operand, values=values):
                elements = self.elements(expr, operand, scopes)
                if elements is None:
                    return None
                return any(kind_of(e) == kind_of(values[0]) and e in values for e in elements)
            case ir.Quantified(kind=quantifier, operand=operand, body=body):
                elements = self.elements(expr, operand, scopes)
                if elements is None:
                    return None
                return self.quantified(quantifier, elements, body, scopes)
        raise AssertionError(expr)

    def elements(self, expr: ir.Expr, operand: ir.Operand, scopes: Sequence[Any]) -> Sequence[Any] | None:
        value = self.raw(operand, scopes)
        if kind_of(value) != "list":
            return None
        if len(value) > MAX_INNER_ELEMENTS and scopes_of(expr) & set(range(1, len(scopes))):
            return None
        found: Sequence[Any] = value
        return found

    def quantified(self, quantifier: str, elements: Sequence[Any], body: ir.Expr, scopes: Sequence[Any]) -> Truth:
        """Looks at elements in order, and no further than the one that decides."""
        truths: list[Truth] = []
        for element in elements:
            truths.append(self.truth(body, (*scopes, element)))
            if truths[-1] is (quantifier == "exists"):
                break
        return _or(truths) if quantifier == "exists" else _and(truths)

    @staticmethod
    def read_constant(via: ir.Via, constant: Any) -> tuple[str, Any]:
        if via is ir.Via.SEMVER:
            return "version", read_version(constant)
        if via in (ir.Via.TIMESTAMP, ir.Via.NOW):
            return "time", constant
        return kind_of(constant), constant

    @staticmethod
    def compare(left: tuple[str, Any], op: str, right: tuple[str, Any]) -> Truth:
        if left[0] != right[0] or left[0] == "" or (left[0] == "boolean" and op != "=="):
            return None
        return _ORDERS[op](left[1], right[1])

    @staticmethod
    def text(text: str, test: str, pattern: str) -> bool:
        match test:
            case "starts_with":
                return text.startswith(pattern)
            case "ends_with":
                return text.endswith(pattern)
            case "contains":
                return pattern in text
            case "matches":
                return _regex(pattern).search(text) is not None
        raise AssertionError(test)

    # The order of decision

    def answer(self, flag_key: str) -> Answer:
        flag = self.flags.get(flag_key)
        if flag is None:
            return Answer(None, None, "ERROR", "FLAG_NOT_FOUND")
        if not flag.enabled:
            return self.serve(flag, flag.off_variant, "DISABLED")
        for prerequisite in flag.prerequisites:
            if self.answer(prerequisite.flag).variant not in prerequisite.variants:
                cause = {"cause": "PREREQUISITE_FAILED"}
                if not flag.client_visible:
                    cause["prerequisite"] = prerequisite.flag
                return self.serve(flag, flag.off_variant, "DEFAULT", cause)
        for rule in flag.rules:
            if self.condition(rule.when) is True:
                return self.serve(flag, rule.serve, "DEFAULT" if rule.serve is None else "TARGETING_MATCH")
        nothing_to_decide = not flag.rules and not flag.prerequisites and isinstance(flag.fallthrough, str)
        return self.serve(flag, flag.fallthrough, "STATIC" if nothing_to_decide else "DEFAULT")

    def serve(self, flag: ir.Flag, serve: ir.Serve, reason: str, metadata: dict[str, str] | None = None) -> Answer:
        if isinstance(serve, ir.Split):
            variants = {r.variant for r in serve.ranges}
            if len(variants) > 1:
                key = id_text(value_at(self.context, serve.by))
                if not key:
                    return Answer(None, None, "ERROR", "TARGETING_KEY_MISSING")
                bucket = bucket_of(key, serve.salt)
                variants = {r.variant for r in serve.ranges if r.start <= bucket < r.end}
            (serve,), reason = variants, "SPLIT"
        value = next((json.loads(bytes(v.value)) for v in flag.variants if v.name == serve), None)
        return Answer(value, serve, reason, None, metadata or {})


# Buckets


_MASK = 2**64 - 1
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def bucket_of(bucketing_key: str, salt: str) -> int:
    """0 … 99,999."""
    return mix(hash64(bucketing_key.encode()) ^ hash64(salt.encode())) * ir.BUCKETS >> 64


def mix(x: int) -> int:
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & _MASK
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 & _MASK
    return x ^ x >> 33


@functools.lru_cache(65536)
def hash64(data: bytes) -> int:
    """XXH64 with seed 0 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md)."""

    def rotated(x: int, bits: int) -> int:
        x &= _MASK
        return (x << bits | x >> 64 - bits) & _MASK

    def round_of(accumulator: int, lane: int) -> int:
        return rotated(accumulator + lane * _P2, 31) * _P1 & _MASK

    def lanes(chunk: bytes, width: int) -> list[int]:
        return [int.from_bytes(chunk[i : i + width], "little") for i in range(0, len(chunk), width)]

    stripes = len(data) // 32 * 32
    if stripes:
        v = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        for start in range(0, stripes, 32):
            v = [round_of(a, lane) for a, lane in zip(v, lanes(data[start : start + 32], 8), strict=True)]
        h = rotated(v[0], 1) + rotated(v[1], 7) + rotated(v[2], 12) + rotated(v[3], 18) & _MASK
        for a in v:
            h = ((h ^ round_of(0, a)) * _P1 + _P4) & _MASK
    else:
        h = _P5
    h = h + len(data) & _MASK
    rest = data[stripes:]
    eights = len(rest) // 8 * 8
    for lane in lanes(rest[:eights], 8):
        h = rotated(h ^ round_of(0, lane), 27) * _P1 + _P4 & _MASK
    rest = rest[eights:]
    if len(rest) >= 4:
        h = rotated(h ^ int.from_bytes(rest[:4], "little") * _P1 & _MASK, 23) * _P2 + _P3 & _MASK
        rest = rest[4:]
    for byte in rest:
        h = rotated(h ^ byte * _P5 & _MASK, 11) * _P1 & _MASK
    h = (h ^ h >> 33) * _P2 & _MASK
    h = (h ^ h >> 29) * _P3 & _MASK
    return h ^ h >> 32
