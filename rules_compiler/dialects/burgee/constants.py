"""The typed constants of conditions, read once here so that the engine never meets a broken one.

    semver("v2.3")                      -> "2.3.0"
    timestamp("2026-01-01T00:00:00Z")   -> 1767225600000000        microseconds since the epoch
    duration("1h30m")                   -> 5400000000
    cidr("10.0.0.0/8")                  -> "10.0.0.0/8"
    ip("::ffff:10.1.2.3")               -> "10.1.2.3/32"

Each raises ValueError with what is wrong (`args[0]`) and a hint (`args[1]`). docs/semantics.md has the grammars.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from fractions import Fraction
from typing import Final

_NUMERIC: Final = r"(0|[1-9][0-9]*)"
_PRE: Final = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION: Final = re.compile(
    rf"v?{_NUMERIC}(?:\.{_NUMERIC}(?:\.{_NUMERIC}(?:-({_PRE}(?:\.{_PRE})*))?)?)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_PART_END: Final = 2**32 - 1  # each numeric part is below it

_TIMESTAMP: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH_DAY: Final = datetime.date(1970, 1, 1).toordinal()

_DURATION: Final = re.compile(r"([+-]?)((?:[0-9]+(?:\.[0-9]*)?(?:h|ms|us|µs|μs|ns|m|s))+)")
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?)(h|ms|us|µs|μs|ns|m|s)")
_MICROSECONDS: Final = {
    "h": Fraction(3_600_000_000),
    "m": Fraction(60_000_000),
    "s": Fraction(1_000_000),
    "ms": Fraction(1_000),
    "us": Fraction(1),
    "µs": Fraction(1),  # U+00B5, and below U+03BC: both are in use
    "μs": Fraction(1),
    "ns": Fraction(1, 1_000),
}
_LONGEST_DURATION: Final = 315_576_000_000 * 1_000_000  # 10,000 years, as in CEL

Version = tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]


def version_text(text: str) -> str:
    """The version in full, without `v` and build: what two equal versions have in common."""
    found = _VERSION.fullmatch(text)
    if found is None or any(part is not None and int(part[:11]) >= _PART_END for part in found.groups()[:3]):
        hint = "three numbers without leading zeros, as 2.3.0 or 2.3.0-beta.1"
        raise ValueError("`semver()` needs a version", hint)
    major, minor, patch, pre = found.groups()
    return f"{major}.{minor or 0}.{patch or 0}" + (f"-{pre}" if pre is not None else "")


def version_order(version: str) -> Version:
    """What `version_text` gave, as a value that orders as SemVer 2.0.0 section 11."""
    numbers, _, pre = version.partition("-")
    major, minor, patch = map(int, numbers.split("."))
    identifiers = tuple((0, len(each), each) if each.isdecimal() else (1, 0, each) for each in pre.split(".") if each)
    return (major, minor, patch, 0 if pre else 1, identifiers)


def timestamp_microseconds(text: str) -> int:
    """RFC 3339 -> microseconds since the epoch, finer digits cut toward the past."""
    found = _TIMESTAMP.fullmatch(text)
    hint = "write it as 2026-01-31T12:00:00Z or 2026-01-31T12:00:00+02:00"
    if found is None:
        raise ValueError("`timestamp()` needs a time with a zone, as RFC 3339 has it", hint)
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    fraction, sign, zone_hour, zone_minute = found.groups()[6:]
    zone_hours, zone_minutes = int(zone_hour or 0), int(zone_minute or 0)
    try:
        days = datetime.date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise ValueError("`timestamp()` got a day that no calendar has", hint) from None
    if hour > 23 or minute > 59 or second > 59 or zone_hours > 23 or zone_minutes > 59:
        raise ValueError("`timestamp()` got a time of day or a zone that is out of range", hint)
    zone = (zone_hours * 60 + zone_minutes) * (-1 if sign == "-" else 1)
    seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - zone * 60
    return seconds * 1_000_000 + int((fraction or "")[:6].ljust(6, "0"))


def duration_microseconds(text: str) -> int:
    found = _DURATION.fullmatch(text)
    if found is None or len(text) > 100:
        hint = "write hours, minutes and seconds, as 720h or 1h30m; a day is 24h"
        raise ValueError("`duration()` needs a length of time", hint)
    parts = _DURATION_PART.findall(found[2])
    total = sum((Fraction(number.rstrip(".")) * _MICROSECONDS[unit] for number, unit in parts), Fraction(0))
    if total.denominator != 1:
        raise ValueError("`duration()` is finer than a microsecond", "times are compared in microseconds")
    if total > _LONGEST_DURATION:
        raise ValueError("`duration()` is longer than 10,000 years", "")
    return -int(total) if found[1] == "-" else int(total)


def address_network(text: str) -> str:
    """One address, as the network that holds nothing else."""
    try:
        if "%" in text or not text.isascii():
            raise ValueError
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("`ip()` needs an IPv4 or IPv6 address", "as 10.1.2.3 or 2001:db8::1") from None
    return _written(int(address), address.version, address.max_prefixlen)


def network(text: str) -> str:
    _, slash, prefix = text.partition("/")
    hint = "as 10.0.0.0/8 or 2001:db8::/32"
    try:
        if not slash or "%" in text or not re.fullmatch("0|[1-9][0-9]{0,2}", prefix):
            raise ValueError
        value = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError("`cidr()` needs a network", hint) from None
    within = value.network
    if int(within.network_address) != int(value.ip):
        right = _written(int(within.network_address), within.version, within.prefixlen)
        raise ValueError(f"`cidr()` has bits set beyond its first {within.prefixlen}", f"the network is {right}")
    return _written(int(within.network_address), within.version, within.prefixlen)


def _written(number: int, version: int, prefix: int) -> str:
    """One text for one network: an IPv4-mapped IPv6 network is written as the IPv4 network it is."""
    if version == 6 and prefix >= 96 and number >> 32 == 0xFFFF:
        number, version, prefix = number & 0xFFFF_FFFF, 4, prefix - 96
    return f"{ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number)}/{prefix}"
