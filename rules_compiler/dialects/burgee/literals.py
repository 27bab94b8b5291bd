"""What a literal of CEL stands for.

    '"caf\\u00e9"' -> "café"        "0x10" -> 16        "1.0" -> 1        "1e3" -> 1000

Strings are shown as a condition has them, with their quotes; each function takes the offset to complain of.
"""

from __future__ import annotations

import math
import re
from typing import Final

from rules_compiler import limits
from rules_compiler.diagnostics import shown
from rules_compiler.dialects.burgee.refusal import Refused

_ESCAPE: Final = re.compile(
    r"""\\(?: (?P<letter>[abfnrtv\\?"'`]) | (?P<octal>[0-3][0-7]{2})
      | [xX](?P<x>[0-9a-fA-F]{2}) | u(?P<u>[0-9a-fA-F]{4}) | U(?P<U>[0-9a-fA-F]{8}) | (?P<wrong>.?) )""",
    re.VERBOSE | re.DOTALL,
)
_LETTERS: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def string_value(token: str, at: int) -> str:
    """The text that a string literal at offset `at` stands for. Raises Refused."""
    raw = token[0] in "rR"
    body = token[1:] if raw else token
    quotes = 3 if body[:3] in ('"""', "'''") and len(body) >= 6 else 1
    body = body[quotes:-quotes]
    if raw or "\\" not in body:
        return body

    def character(escape: re.Match[str]) -> str:
        letter = escape["letter"]
        if letter is not None:
            return _LETTERS.get(letter, letter)
        code = -1 if escape["wrong"] is not None else int(escape["octal"] or "0", 8)
        code = max(code, *(int(escape[kind], 16) for kind in ("x", "u", "U") if escape[kind]), -1)
        if code < 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            hint = 'write `\\\\` for a backslash, or r"…"'
            raise Refused("B216", at, f"the escape {shown(escape[0])} stands for no character", hint)
        return chr(code)

    return _ESCAPE.sub(character, body)


def integer_value(token: str, at: int) -> int:
    digits = token[2:] if token[:2] == "0x" else token
    value = int(digits, 16 if digits is not token else 10) if len(digits) <= 20 else limits.EXACT_INTEGER + 1
    if value > limits.EXACT_INTEGER:
        raise Refused(
            "B208",
            at,
            f"{shown(token)} is beyond the integers that are exact, {limits.EXACT_INTEGER}",
            "quote it if it is an identifier",
        )
    return value


def float_value(token: str, at: int) -> int | float:
    """As an int where it is one: `1`, `1.0` and `1e0` are one number."""
    value = float(token)
    if not math.isfinite(value):
        raise Refused("B208", at, f"{shown(token)} is more than a 64-bit float can hold")
    return int(value) if value.is_integer() and abs(value) <= limits.EXACT_INTEGER else value
