"""Ordered values as the 128-bit keys of engine/core/format.h, which compare as the values do.

number(-0.5)               ->   Point(hi=0x401FFFFFFFFFFFFF, lo=0)
version("2.3.0-rc.1")      ->   Point(2 << 32 | 3, 0, ((1, 0, "rc"), (0, 1, "")), "rc.1")
network("10.0.0.0/8")      ->   (Point of ::ffff:10.0.0.0, Point of ::ffff:10.255.255.255)
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, NamedTuple

_SIGN: Final = 1 << 63
_MASK: Final = (1 << 64) - 1
_V4_MAPPED: Final = 0xFFFF << 32
_RELEASE: Final = (1 << 32) - 1
_HUGE: Final = 1e300  # no size comes near it


class Point(NamedTuple):
    """Compares as the value does. `prerelease` says the same as `identifiers`, which sort as SemVer 11.4 says."""

    hi: int
    lo: int = 0
    identifiers: tuple[tuple[int, int, str], ...] = ()
    prerelease: str = ""


def number(value: float) -> Point:
    """Sizes too, so integers of any magnitude.

    >>> number(-1) < number(-0.0) == number(0) < number(0.5)
    True
    """
    value = max(-_HUGE, min(_HUGE, value)) if isinstance(value, int) else value
    (bits,) = struct.unpack("<Q", struct.pack("<d", float(value) + 0.0))  # + 0.0: -0 is 0
    return Point(bits ^ _MASK if bits & _SIGN else bits | _SIGN)


def moment(microseconds: int) -> Point:
    """A time beyond what any context can hold compares as the nearest that fits."""
    return Point(max(0, min(_MASK, microseconds + _SIGN)))


def version(text: str) -> Point:
    """The front end has checked that it is one.

    >>> version("1.2") == version("v1.2.0+build"), version("1.2.0-rc.1") < version("1.2.0-rc.1.0") < version("1.2.0")
    (True, True)
    """
    text = text.removeprefix("v").partition("+")[0]
    numbers, dash, prerelease = text.partition("-")
    major, minor, patch = (*map(int, numbers.split(".")), 0, 0)[:3]
    identifiers = tuple((0, int(i), "") if i.isdigit() else (1, 0, i) for i in prerelease.split(".")) if dash else ()
    return Point(major << 32 | minor, patch << 32 | (0 if dash else _RELEASE), identifiers, prerelease)


def address(number: int) -> Point:
    return Point(number >> 64, number & _MASK)


def network(text: str) -> tuple[int, int]:
    """First and last address, both inclusive."""
    parsed = ipaddress.ip_network(text)
    base = _V4_MAPPED if parsed.version == 4 else 0
    return int(parsed.network_address) + base, int(parsed.broadcast_address) + base


def merged(networks: tuple[str, ...]) -> list[tuple[int, int]]:
    """Ranges of addresses, ascending, apart from each other.

    >>> [(hex(first), hex(last)) for first, last in merged(("10.128.0.0/9", "10.0.0.0/9"))]
    [('0xffff0a000000', '0xffff0affffff')]
    """
    ranges: list[tuple[int, int]] = []
    for first, last in sorted(map(network, networks)):
        if ranges and first <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(last, ranges[-1][1]))
        else:
            ranges.append((first, last))
    return ranges
