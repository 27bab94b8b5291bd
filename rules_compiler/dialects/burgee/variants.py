"""The variants of a flag: names, and values that fit the flag's type, as compact JSON.

{"small": 10, "large": 2.5}   of type `number`   ->   {"small": b"10", "large": b"2.5"}
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from rules_compiler import limits
from rules_compiler.diagnostics import Report, shown
from rules_compiler.dialects.burgee.names import check_name
from rules_compiler.document import FlagDocument, FlagType

_FITS: Final[dict[FlagType, tuple[bytes, str, str]]] = {  # the characters a value may begin with, its name, a hint
    "boolean": (b"tf", "a boolean", "`true` or `false`, not quoted"),
    "string": (b'"', "a string", "quote it"),
    "integer": (b"-0123456789", "an integer", "a whole number, without a point"),
    "number": (b"-0123456789", "a number", "a number, not quoted"),
    "object": (b"{[", "an object or a list", 'as `{"color": "blue"}`'),
}
_INTEGER: Final = re.compile(rb"-?[0-9]{1,16}")


def read_variants(document: FlagDocument, place: str, report: Report) -> dict[str, bytes]:
    variants: dict[str, bytes] = {}
    if not document.variants:
        hint = 'as `{"on": true, "off": false}`'
        report.error("B112", f"{place}.variants", "a flag has at least one variant", hint=hint)
    if len(document.variants) > limits.VARIANTS:
        message = f"the flag has {len(document.variants)} variants; at most {limits.VARIANTS}"
        report.error("B504", f"{place}.variants", message)
        return variants
    for name, written in document.variants.items():
        where = f"{place}.variants.{name}"
        check_name(name, "a variant", f"{place}.variants", report)
        variants[name] = value = bytes(written)
        begins, what, hint = _FITS[document.type]
        if value[:1] not in {begins[i : i + 1] for i in range(len(begins))}:
            text = shown(value[:200].decode("utf-8", "replace"))
            report.error("B111", where, f"the flag is of type {document.type}; this is not {what}: {text}", hint=hint)
        elif document.type == "integer" and not _exact_integer(value):
            text = shown(value[:200].decode("utf-8", "replace"))
            hint = f"a whole number, written without point or exponent, within ±{limits.EXACT_INTEGER}"
            report.error("B111", where, f"not an integer that is exact: {text}", hint=hint)
        elif document.type == "object" and _depth(msgspec.json.decode(value)) > limits.VALUE_DEPTH:
            report.error("B106", where, f"the value is more than {limits.VALUE_DEPTH} levels deep")
        if len(value) > limits.VALUE_BYTES:
            message = f"the value has {len(value)} bytes; at most {limits.VALUE_BYTES}"
            report.error("B506", where, message, hint="serve a name, and keep what it stands for elsewhere")
    return variants


def _exact_integer(value: bytes) -> bool:
    return _INTEGER.fullmatch(value) is not None and abs(int(value)) <= limits.EXACT_INTEGER


def _depth(value: Any) -> int:
    """How many lists and objects are inside each other. By levels, so that depth costs no stack."""
    depth = 0
    level = [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
    return depth
