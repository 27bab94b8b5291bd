"""A flag's outcomes, and each one's answer rendered as JSON.

    ("new", SPLIT)   ->   {"key":"checkout","value":"new-v2","variant":"new","reason":"SPLIT"},

The comma behind an answer is not counted in its length: answers that touch are a list without further ado. Only
outcomes that can occur are kept, in the order in which rules name them.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from rules_compiler import ir
from rules_compiler.codegen.layout import NONE16, OUTCOME_METADATA, Reason
from rules_compiler.codegen.limits import FLAG_FRAGMENT_BYTES, check_flag

_quoted = msgspec.json.Encoder().encode


class Outcome(NamedTuple):
    at: int  # within the flag's fragments
    length: int
    variant: int
    reason: Reason
    bits: int


class Outcomes:
    """Those of one flag."""

    def __init__(self, flag: ir.Flag) -> None:
        self.records: list[Outcome] = []
        self._fragments: list[bytes] = []
        self._length = 0
        self._place = flag.place
        self._client_visible = flag.client_visible
        self._key = b'{"key":' + _quoted(flag.key)
        self._variants = {variant.name: (i, variant) for i, variant in enumerate(flag.variants)}
        self._known: dict[tuple[str | None, Reason, str | None], int] = {}

    @property
    def fragments(self) -> bytes:
        return b"".join(self._fragments)

    def add(self, variant: str | None, reason: Reason, unmet: str | None = None) -> int:
        """Its number. `variant`: None for the code default. `unmet`: the flag of the prerequisite that was not met."""
        found = self._known.get((variant, reason, unmet))
        if found is not None:
            return found
        index, value = NONE16, b""
        if variant is not None:
            index, content = self._variants[variant]
            value = b',"value":' + bytes(content.value) + b',"variant":' + _quoted(variant)
        bits, metadata = 0, b""
        if unmet is not None:
            bits = OUTCOME_METADATA
            # Who may see this flag may not be meant to know that there is the other.
            name = b"" if self._client_visible else b',"prerequisite":' + _quoted(unmet)
            metadata = b',"metadata":{"cause":"PREREQUISITE_FAILED"' + name + b"}"
        fragment = self._key + value + b',"reason":"' + reason.name.encode() + b'"' + metadata + b"}"
        self.records.append(Outcome(self._length, len(fragment), index, reason, bits))
        self._fragments.append(fragment + b",")
        self._length += len(fragment) + 1
        self._known[variant, reason, unmet] = len(self.records) - 1
        # Each prerequisite has an answer of its own, which repeats the off variant's value.
        hint = "give the off variant a smaller value, or name fewer prerequisites"
        check_flag(self._place, "bytes of answers", self._length, FLAG_FRAGMENT_BYTES, hint)
        return len(self.records) - 1
