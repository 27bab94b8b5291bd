"""The strings that a slot tells apart: their texts, and the hash table that leads to their classes.

    (("DE", 2), ("FR", 3))   ->   texts "DEFR", entries [FR at 2, class 3] [-] [DE at 0, class 2] [-]

Made once for a set of classes: to link it, only the place of the texts is added to the entries.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import NamedTuple

from rules_compiler.codegen.hashing import hash64
from rules_compiler.codegen.layout import ENTRY
from rules_compiler.codegen.tables import Item, place, table


class Dictionary(NamedTuple):
    texts: bytes
    entries: bytes  # `at` counts from the texts
    positions: tuple[int, ...]  # of the entries that are not empty
    bits: int
    seed: int


def dictionary(strings: Iterable[tuple[bytes, int]]) -> Dictionary:
    texts: list[bytes] = []
    items: list[Item] = []
    at = 0
    for text, of_text in strings:
        texts.append(text)
        items.append(Item(hash64(text), at, len(text), of_text))
        at += len(text)
    entries, bits, seed = table(items)
    positions = place(tuple([item.hash for item in items])).positions
    return Dictionary(b"".join(texts), entries, positions, bits, seed)


def linked(made: Dictionary, at: int) -> bytes:
    """The entries, when the texts are at `at`."""
    words = array("I", made.entries)
    per_entry = ENTRY.size // 4
    for position in made.positions:
        words[position * per_entry + 1] += at
    return words.tobytes()
