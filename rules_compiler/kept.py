"""What was worked out for an object, found again by the object itself, not by its value.

Front ends give the same `ir.Flag` for the same text, so looking up what the passes made of it hashes no trees.
INVARIANT: an entry keeps its object alive, so an id is never another object's.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Made(Protocol):
    @property
    def source(self) -> object: ...  # what it was made of


MadeT = TypeVar("MadeT", bound=Made)


class Kept(Generic[MadeT]):
    """At most `capacity` entries, in two generations: when the younger is full the older is forgotten.

    What is used moves to the younger. Threads may share it: at worst something is forgotten early and made again.
    """

    def __init__(self, capacity: int) -> None:
        self._half = capacity // 2
        self._young: dict[int, MadeT] = {}
        self._old: dict[int, MadeT] = {}

    def get(self, source: object) -> MadeT | None:
        entry = self._young.get(id(source))
        if entry is None:
            entry = self._old.get(id(source))
            if entry is not None:
                self.put(entry)
        return entry if entry is not None and entry.source is source else None

    def put(self, made: MadeT) -> None:
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[id(made.source)] = made

    def clear(self) -> None:
        self._old, self._young = {}, {}
