"""Order flags so that each comes after those it depends on; flags that could come next do so by key.

    a (waits for c), b, c      ->      b, c, a
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Set

from rules_compiler import limits
from rules_compiler.diagnostics import Report, shown


def order_flags(depends: Mapping[str, Set[str]], report: Report) -> tuple[str, ...]:
    """`depends`: per flag key, sorted, the flags named by its prerequisites and conditions, segments included."""
    if not any(depends.values()):
        return tuple(depends)
    waits = {key: len(needed) for key, needed in depends.items()}
    dependents: dict[str, list[str]] = {}
    for key, needed in depends.items():
        for each in needed:
            dependents.setdefault(each, []).append(key)
    ready = [key for key, count in waits.items() if count == 0]  # sorted, so a heap
    depth = dict.fromkeys(depends, 0)
    ordered = []
    while ready:
        key = heapq.heappop(ready)
        ordered.append(key)
        if depth[key] == limits.PREREQUISITE_CHAIN + 1:  # once per chain, not for each flag further along
            message = f"flag {shown(key)} waits for a chain of more than {limits.PREREQUISITE_CHAIN} flags"
            report.error("B414", f"flags.{key}", message, hint="let flags of the chain share a segment instead")
        for dependent in dependents.get(key, ()):
            depth[dependent] = max(depth[dependent], depth[key] + 1)
            waits[dependent] -= 1
            if waits[dependent] == 0:
                heapq.heappush(ready, dependent)
    if len(ordered) < len(depends):
        stuck = sorted(set(depends) - set(ordered))
        names = ", ".join(map(shown, stuck[:5])) + (", …" if len(stuck) > 5 else "")
        report.error("B415", f"flags.{stuck[0]}", f"flags wait for each other: {names}", hint="break the cycle")
    return tuple(ordered)
