"""JSON as the admin API takes it: nothing that two readers could read differently, and nothing the record cannot hold.

read_json(b'{"name": "web"}')           {"name": "web"}
read_json(b'{"a": 1, "a": 2}')          StrictJsonError: `a` is there twice
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

DEEPEST: Final = 100
_ODD = re.compile("[\x00\ud800-\udfff]")  # Postgres has no text with a NUL; half a surrogate pair is no text at all
_LEAST, _MOST = -(2**63), 2**64


class StrictJsonError(ValueError):
    """What is wrong; never with a value."""


def read_json(text: bytes) -> Any:
    """Raises StrictJsonError."""
    try:
        value = json.loads(
            text.decode(), object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_float, parse_int=_int
        )
    except UnicodeDecodeError:
        raise StrictJsonError("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"the body is not JSON: line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise StrictJsonError(f"the body is nested deeper than {DEEPEST} levels") from None
    _look_through(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise StrictJsonError("a member of an object is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise StrictJsonError(f"`{name}` is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise StrictJsonError("a number is too large")
    return number


def _int(text: str) -> int:
    if len(text) > 20 or not _LEAST <= (number := int(text)) < _MOST:
        raise StrictJsonError("a number is too large")
    return number


def _look_through(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for each in level:
            if isinstance(each, str):
                if _ODD.search(each):
                    raise StrictJsonError("a text holds U+0000 or half a surrogate pair")
            elif isinstance(each, dict):
                below += each.keys()
                below += each.values()
            elif isinstance(each, list):
                below += each
        if not below:
            return
        level = below
    raise StrictJsonError(f"the body is nested deeper than {DEEPEST} levels")
