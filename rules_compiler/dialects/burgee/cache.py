"""What was compiled before, found again by its content.

    cache.get((digest_of(raw), "production"))    -> what cache.put(…) kept, or None

Only the digest of a text is kept of it.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

Kept = TypeVar("Kept")

_BYTES: Final = 64 * 1024 * 1024  # of document text; what is kept for it takes about ten times that


def digest_of(raw: bytes) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(raw, digest_size=16).digest()


class ContentCache(Generic[Kept]):
    """Least recently used go first, when the texts together pass the limit. Safe to share between threads."""

    def __init__(self, limit: int = _BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[Hashable, tuple[Kept, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Kept | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: Kept, size: int) -> None:
        """`size` is the length of the text, in bytes."""
        with self._lock:
            old = self._kept.pop(key, None)
            self._size += size - (old[1] if old else 0)
            self._kept[key] = (value, size)
            while self._size > self._limit and len(self._kept) > 1:
                _, (_, freed) = self._kept.popitem(last=False)
                self._size -= freed

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._size = 0
