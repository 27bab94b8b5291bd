"""What was compiled before, found again by its content.

    cache.get((digest_of(raw), "production"))    -> what cache.put(…) kept, or None

Only the digest of a text is kept of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

Kept = TypeVar("Kept")

_BYTES: Final = 64 * 1024 * 1024  # of document text; what is kept for it takes about ten times that


def digest_of(raw: bytes) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(raw, digest_size=16).digest()


class ContentCache(Generic[Kept]):
    """Two generations: when the younger holds half of the limit it becomes the older, and the older is forgotten.

    What is used moves to the younger, so that what stays unused goes. Threads may share it without a lock: at worst
    something is forgotten early and compiled again.
    """

    def __init__(self, limit: int = _BYTES) -> None:
        self._half = limit // 2
        self._size = 0  # of the younger
        self._young: dict[Hashable, tuple[Kept, int]] = {}
        self._old: dict[Hashable, tuple[Kept, int]] = {}

    def get(self, key: Hashable) -> Kept | None:
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is None:
                return None
            self.put(key, *found)
        return found[0]

    def put(self, key: Hashable, value: Kept, size: int) -> None:
        """`size` is the length of the text, in bytes."""
        if self._size >= self._half:
            self._old, self._young, self._size = self._young, {}, 0
        self._young[key] = (value, size)
        self._size += size

    def clear(self) -> None:
        self._old, self._young, self._size = {}, {}, 0
