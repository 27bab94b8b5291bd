"""The bit matrix: for each class of each slot, which conjunctions accept it.

    bit 0: country in ["DE", "FR"]         country      0 missing   1 other   2 "DE"   3 "FR"
    bit 1: country == "FR"             ->  row          0b100       0b100     0b101    0b111
    bit 2: (the fallthrough)

A row covers only the words in which its slot asks anything. Where it differs from the default class's row in a few
words, only these are stored; equal rows are stored once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rules_compiler.codegen.atoms import Ask
from rules_compiler.codegen.classes import Partition
from rules_compiler.codegen.layout import CLASS_ROW, DENSE, MAX_PATCHES, PATCH, Section
from rules_compiler.codegen.limits import ROW_BYTES, check
from rules_compiler.codegen.masks import edges_of, mask_of

_WORD = (1 << 64) - 1


class SlotRows(NamedTuple):
    first_word: int  # of the matrix
    word_count: int
    rows: list[int]  # per class; bit 0 is the first bit of the first word


def rows_of(partition: Partition, asked: Mapping[tuple[Ask, ...], Sequence[int]]) -> SlotRows:
    """`asked`: for all that some conjunction asks of the slot at once, the bits of these conjunctions."""
    if not asked:
        return SlotRows(0, 0, [0] * partition.class_count)
    first_word = min(min(bits) for bits in asked.values()) >> 6
    word_count = (max(max(bits) for bits in asked.values()) >> 6) - first_word + 1
    check("bytes of rows", 8 * word_count * partition.class_count, ROW_BYTES)
    # Sweep over the classes: at each, some conjunctions begin to accept, or stop.
    toggles = [0] * (partition.class_count + 1)
    narrowed = 0
    for asks, bits in asked.items():
        mask = mask_of(bits) >> 64 * first_word
        narrowed |= mask
        accepting = partition.accepting(asks[0])
        for ask in asks[1:]:
            accepting &= partition.accepting(ask)
        for edge in edges_of(accepting):
            toggles[edge] ^= mask
    row = (1 << 64 * word_count) - 1 & ~narrowed
    rows = []
    for toggle in toggles[:-1]:
        row ^= toggle
        rows.append(row)
    return SlotRows(first_word, word_count, rows)


def patches_of(mask: int, limit: int, first_word: int = 0) -> list[tuple[int, int]] | None:
    """The words of a mask that are not zero, as (word, bits); None: more than `limit`."""
    patches: list[tuple[int, int]] = []
    while mask:
        word = (mask & -mask).bit_length() - 1 >> 6
        if len(patches) == limit:
            return None
        bits = mask >> 64 * word & _WORD
        patches.append((first_word + word, bits))
        mask ^= bits << 64 * word
    return patches


class RowWriter:
    """CLASS_ROWS, ROWS and PATCHES."""

    def __init__(self) -> None:
        self._class_rows: list[bytes] = []
        self._rows: list[bytes] = []
        self._patches: list[bytes] = []
        self._words = 0
        self._patch_count = 0
        self._dense: dict[bytes, int] = {}
        self._sparse: dict[bytes, int] = {}

    def add(self, rows: SlotRows, default: int) -> int:
        """Index of the slot's first class row."""
        first = len(self._class_rows)
        base = rows.rows[default]
        # A patch takes two words, and is worth it only below half of the row.
        limit = min(MAX_PATCHES, max(0, rows.word_count - 1) // 2)
        known: dict[int, bytes] = {base: self._dense_row(base, rows.word_count)}
        for row in rows.rows:
            record = known.get(row)
            if record is None:
                record = known[row] = self._row(row, base, rows, limit)
            self._class_rows.append(record)
        return first

    def _row(self, row: int, base: int, rows: SlotRows, limit: int) -> bytes:
        # Patches hold the row's own words, so what is looked for is where it differs, then what it has there.
        differing = patches_of(row ^ base, limit, rows.first_word)
        if differing is None:
            return self._dense_row(row, rows.word_count)
        content = b"".join([PATCH.pack(word, row >> 64 * (word - rows.first_word) & _WORD) for word, _ in differing])
        first = self._sparse.get(content)
        if first is None:
            first = self._sparse[content] = self.add_patches(content)
        return CLASS_ROW.pack(first, len(differing))

    def _dense_row(self, row: int, word_count: int) -> bytes:
        content = row.to_bytes(8 * word_count, "little")
        first = self._dense.get(content)
        if first is None:
            first = self._dense[content] = self._words
            self._rows.append(content)
            self._words += word_count
            check("bytes of rows", 8 * self._words, ROW_BYTES)
        return CLASS_ROW.pack(first, DENSE)

    def add_patches(self, content: bytes) -> int:
        first = self._patch_count
        self._patches.append(content)
        self._patch_count += len(content) // PATCH.size
        return first

    def add_mask(self, bits: Sequence[int]) -> tuple[int, int]:
        """The bits as patches: index of the first, and how many."""
        words: dict[int, int] = {}
        for bit in bits:
            words[bit >> 6] = words.get(bit >> 6, 0) | 1 << (bit & 63)
        return self.add_patches(b"".join([PATCH.pack(word, words[word]) for word in sorted(words)])), len(words)

    def sections(self) -> dict[Section, bytes]:
        return {
            Section.CLASS_ROWS: b"".join(self._class_rows),
            Section.ROWS: b"".join(self._rows),
            Section.PATCHES: b"".join(self._patches),
        }
