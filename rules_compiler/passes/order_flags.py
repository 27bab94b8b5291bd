"""Order flags so that each comes after those it depends on, and else by key.

{"a": {"c"}, "b": {}, "c": {}}      ->      ("b", "c", "a")
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Set


def order_flags(depends: Mapping[str, Set[str]]) -> tuple[str, ...]:
    """`depends`: per flag key, sorted, the flags named by its prerequisites and conditions, segments included.

    Raises ValueError if flags wait for each other, which a front end has to refuse.
    """
    if not any(depends.values()):
        return tuple(depends)
    waits = {key: len(needed) for key, needed in depends.items()}
    dependents: dict[str, list[str]] = {}
    for key, needed in depends.items():
        for each in needed:
            dependents.setdefault(each, []).append(key)
    ready = [key for key, count in waits.items() if count == 0]  # sorted, so a heap
    ordered = []
    while ready:
        key = heapq.heappop(ready)
        ordered.append(key)
        for dependent in dependents.get(key, ()):
            waits[dependent] -= 1
            if waits[dependent] == 0:
                heapq.heappush(ready, dependent)
    if len(ordered) < len(depends):
        raise ValueError("flags wait for each other")
    return tuple(ordered)
