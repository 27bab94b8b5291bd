"""Sets of small numbers as Python integers: bit i is set when i is in the set.

mask_of([0, 2]) == 0b101          bits_of(0b101) == [0, 2]
"""

from __future__ import annotations

from collections.abc import Collection, Iterator


def mask_of(numbers: Collection[int]) -> int:
    if not numbers:
        return 0
    buffer = bytearray((max(numbers) >> 3) + 1)
    for number in numbers:
        buffer[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(buffer, "little")


def bits_of(mask: int) -> Iterator[int]:
    """Ascending. For masks with few bits: each costs a pass over the mask."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def edges_of(mask: int) -> Iterator[int]:
    """Where membership changes, from below: the first of the set, the first not of it, …

    >>> list(edges_of(0b0110_1110))
    [1, 4, 5, 7]
    """
    return bits_of(mask ^ mask << 1)
