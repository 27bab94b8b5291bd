"""How an explanation reads a value of a context: the kinds and readings of docs/semantics.md, in Python.

    read("semver", "v1.2")          -> (1, 2, 0, 1, ())         a key that sorts as the version does
    read("timestamp", 0)            -> 0                        microseconds since the epoch
    read("ip", "10.0.0.1")          -> 0xFFFF_0A00_0001         IPv4 as its v4-mapped IPv6 address
    read("semver", "latest")        -> None                     cannot be read so: the atom is unknown

The compiled engine classifies instead; explanations are rare and want the value itself, to show it.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

MAX_EXACT = 2**53 - 1
MAX_ELEMENTS = 4096  # of a list that a condition looks at; a longer one is unusable
MAX_SECONDS = 10**11
V4_MAPPED = 0xFFFF << 32
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_PART = "(0|[1-9][0-9]*)"
_PRE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"v?{_PART}(?:\.{_PART}(?:\.{_PART}(?:-({_PRE}(?:\.{_PRE})*))?)?)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)


def kind_of(value: Any) -> str:
    """missing, boolean, number, unusable, string, list or object."""
    match value:
        case None:
            return "missing"
        case bool():
            return "boolean"
        case int():
            return "number" if -MAX_EXACT <= value <= MAX_EXACT else "unusable"
        case float():
            return "number" if math.isfinite(value) else "unusable"
        case str():
            return "unusable" if any("\ud800" <= c <= "\udfff" for c in value) else "string"
        case list() | tuple():
            return "list" if len(value) <= MAX_ELEMENTS else "unusable"
        case Mapping():
            return "object"
    return "unusable"


def value_at(root: Any, path: Sequence[str]) -> Any:
    for member in path:
        if not isinstance(root, Mapping):
            return None
        root = root.get(member)
    return root


def id_text(value: Any) -> str | None:
    """What id lists and bucketing read: a string, or an exact integer as its decimal text."""
    kind = kind_of(value)
    if kind == "string":
        return str(value)
    if kind == "number" and abs(value) <= MAX_EXACT and value == math.floor(value):
        return str(int(value))
    return None


def read(via: str, value: Any) -> Any:
    """The value read by way of `via` (see ir.Via), or None where it cannot be read so."""
    kind = kind_of(value)
    if via == "size":
        return len(value) if kind in ("string", "list", "object") else None
    if via == "timestamp":
        return _read_time(value, kind)
    if via == "value":
        return value if kind in ("string", "number", "boolean") else None
    if kind != "string":
        return None
    if via == "lower":
        return re.sub("[A-Z]", lambda found: found[0].lower(), value)
    return read_version(value) if via == "semver" else _read_address(value)


def read_version(text: str) -> tuple[Any, ...] | None:
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    parts = [int(part or 0) for part in found.groups()[:3]]
    if max(parts) >= 2**32 - 1:
        return None
    if found[4] is None:
        return (*parts, 1, ())
    # numeric identifiers come before the others, and a shorter list before a longer one it begins
    identifiers = tuple((False, int(i), "") if i.isdigit() else (True, 0, i) for i in found[4].split("."))
    return (*parts, 0, identifiers)


def _read_time(value: Any, kind: str) -> int | None:
    if kind == "number":
        return math.floor(value * 1_000_000) if abs(value) <= MAX_SECONDS else None
    found = _TIME.fullmatch(value) if kind == "string" else None
    if found is None:
        return None
    date, clock, fraction, sign, hours, minutes = found.groups(default="")
    if hours > "23" or minutes > "59":
        return None
    try:
        local = datetime.fromisoformat(f"{date}T{clock}+00:00")
    except ValueError:
        return None
    zone = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    seconds = (local - EPOCH - zone) // timedelta(seconds=1)
    return seconds * 1_000_000 + int(fraction[:6].ljust(6, "0"))


def _read_address(text: str) -> int | None:
    if "%" in text:  # a zone
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return int(address) + (V4_MAPPED if address.version == 4 else 0)


def network_holds(network: str, address: int) -> bool:
    parsed = ipaddress.ip_network(network)
    first = int(parsed.network_address) + (V4_MAPPED if parsed.version == 4 else 0)
    return first <= address < first + parsed.num_addresses
