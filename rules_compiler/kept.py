"""What was worked out before, found again: by a key, or by the object that it was worked out for.

Two generations: when the younger is full, or many compilations old, it becomes the older, and the older is forgotten.
What is used moves to the younger. So what is kept stays small, and is what compilations of late asked for. Threads may
share it without a lock: at worst something is forgotten early and made again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, Protocol, TypeVar

_COMPILATIONS: Final = 64  # of one environment each, after which the younger generation is the older
_begun = 0


def begin_compilation() -> None:
    """One more; with it everything kept grows older."""
    global _begun
    _begun += 1


class Made(Protocol):
    @property
    def source(self) -> object: ...  # what it was made of


KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")
MadeT = TypeVar("MadeT", bound=Made)


class Generations(Generic[KeyT, ValueT]):
    """What is put under a key; at most `capacity` in the unit of the sizes, roughly."""

    def __init__(self, capacity: int) -> None:
        self._half = capacity // 2
        self._young: dict[KeyT, tuple[ValueT, int]] = {}
        self._old: dict[KeyT, tuple[ValueT, int]] = {}
        self._size = 0  # of the younger
        self._since = _begun

    def get(self, key: KeyT) -> ValueT | None:
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is None:
                return None
            self.put(key, *found)
        return found[0]

    def put(self, key: KeyT, value: ValueT, size: int = 1) -> None:
        if self._size >= self._half or _begun - self._since >= _COMPILATIONS:
            self._old, self._young, self._size, self._since = self._young, {}, 0, _begun
        self._young[key] = (value, size)
        self._size += size

    def clear(self) -> None:
        self._old, self._young, self._size = {}, {}, 0


class Kept(Generic[MadeT]):
    """Found by the object itself, not by its value: front ends give the same `ir.Flag` for the same text, so looking up
    what the passes made of it hashes no trees.

    INVARIANT: an entry keeps its object alive, so an id is never another object's.
    """

    def __init__(self, capacity: int) -> None:
        self._entries: Generations[int, MadeT] = Generations(capacity)

    def get(self, source: object) -> MadeT | None:
        entry = self._entries.get(id(source))
        return entry if entry is not None and entry.source is source else None

    def put(self, made: MadeT) -> None:
        self._entries.put(id(made.source), made)

    def clear(self) -> None:
        self._entries.clear()
