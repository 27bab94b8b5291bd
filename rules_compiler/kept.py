"""What was worked out for an object, found again by the object itself, not by its value.

Front ends give the same `ir.Flag` for the same text, so looking up what the passes made of it hashes no trees.
INVARIANT: an entry keeps its object alive, so an id is never another object's. Safe to share between threads.
"""

from __future__ import annotations

import threading
from typing import Generic, Protocol, TypeVar


class Made(Protocol):
    @property
    def source(self) -> object: ...  # what it was made of


MadeT = TypeVar("MadeT", bound=Made)


class Kept(Generic[MadeT]):
    """At most `capacity` entries; the oldest leave first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._entries: dict[int, MadeT] = {}
        self._changing = threading.Lock()

    def get(self, source: object) -> MadeT | None:
        entry = self._entries.get(id(source))
        return entry if entry is not None and entry.source is source else None

    def put(self, made: MadeT) -> None:
        with self._changing:
            self._entries.pop(id(made.source), None)  # so that it becomes the newest
            self._entries[id(made.source)] = made
            while len(self._entries) > self.capacity:
                del self._entries[next(iter(self._entries))]

    def clear(self) -> None:
        with self._changing:
            self._entries.clear()
