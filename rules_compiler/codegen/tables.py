"""Hash tables with linear probing, seeded so that no run of filled entries is long.

    {"DE": class 1, "FR": class 2}   ->   4 entries, seed 0:   [FR] [-] [DE] [-]

The engine finds an entry by one hash and, mostly, one probe; the verifier refuses runs that would make it slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from rules_compiler.codegen.layout import ENTRY, NONE16, PHI, RUN
from rules_compiler.diagnostics import CompileError, Diagnostic

SEEDS, GROWTHS = 8, 3
_MASK: Final = (1 << 64) - 1
_EMPTY: Final = ENTRY.pack(0, 0, 0, NONE16, 0)


class Item(NamedTuple):
    hash: int  # hash64(text) + parent * PHI, modulo 2^64
    at: int  # of the text, in TEXT
    length: int
    target: int
    parent: int = 0


class Placement(NamedTuple):
    bits: int  # log2 of the number of entries
    seed: int
    positions: tuple[int, ...]  # of each hash


def hash_of_node(name_hash: int, parent: int) -> int:
    return name_hash + parent * PHI & _MASK


@lru_cache(256)
def place(hashes: tuple[int, ...]) -> Placement:
    """At most two thirds full; the first seed from 0 with which no run is longer than RUN. Or else, twice the size."""
    fewest = max(1, (len(hashes) * 3 // 2).bit_length())
    for bits in range(fewest, fewest + 1 + GROWTHS):
        for seed in range(SEEDS):
            positions = _placed(hashes, bits, seed)
            if positions is not None and _longest_run(positions, 1 << bits) <= RUN:
                return Placement(bits, seed, positions)
    raise colliding()


def colliding() -> CompileError:
    """Not by chance: somebody looked for texts with equal hashes."""
    message = f"more than {RUN} names or values have nearly the same hash"
    return CompileError((Diagnostic("B532", "error", "", message, "choose other names or values"),))


def _placed(hashes: tuple[int, ...], bits: int, seed: int) -> tuple[int, ...] | None:
    """None as soon as one is RUN places from its own, so that equal hashes cost no more than others."""
    size, shift = 1 << bits, 64 - bits
    filled = bytearray(size)
    positions = []
    for h in hashes:
        first = position = ((h ^ seed) * PHI & _MASK) >> shift
        while filled[position]:
            position = (position + 1) % size
            if (position - first) % size > RUN:
                return None
        filled[position] = 1
        positions.append(position)
    return tuple(positions)


def _longest_run(positions: tuple[int, ...], size: int) -> int:
    filled = bytearray(size)
    for position in positions:
        filled[position] = 1
    # Twice, so that a run around the end counts as one.
    return max(map(len, bytes(filled + filled).split(b"\0")))


def table(items: Sequence[Item]) -> tuple[bytes, int, int]:
    """The entries, log2 of their number, and the seed."""
    placement = place(tuple([item.hash for item in items]))
    entries = [_EMPTY] * (1 << placement.bits)
    for position, item in zip(placement.positions, items, strict=True):
        entries[position] = ENTRY.pack(item.hash & 0xFFFF_FFFF, item.at, item.length, item.target, item.parent)
    return b"".join(entries), placement.bits, placement.seed
