"""The decision tree of one flag, from its conjunctions.

    0: country in ["DE", "FR"], beta        country in ["DE", "FR"]? -- no --> country in ["US"]? -> 1, 2
    1: country in ["US"]                      | yes
    2:                                      beta? -- yes --> 0
                                              | no (so country is not "US")
                                            --> 2

Each test's answer also answers others about the same attribute, and those are not asked again. States that ask the
same from then on are one node, so this is a graph; children always come later than their parents. `no` means false *or
unknown*: from it follows only that what would imply the literal does not hold either. Where all this makes the tree
too large, it is the plain chain of tests: a literal that fails leads to the first one of the next conjunction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rules_compiler import ir
from rules_compiler.passes.literals import Accepted, excludes, implies

GROWTH, SLACK = 4, 32  # a tree may have GROWTH times the nodes of the chain, and SLACK more
LARGE = 4_096  # literals: from here on the chain, without asking whether a tree would do with less
COMPARED = 128  # literals about one attribute that are compared with each other, each with each


def build_tree(conjunctions: Sequence[ir.Conjunction]) -> tuple[ir.TreeNode, ...]:
    if not conjunctions or not conjunctions[0].literals:
        return ()
    numbers: dict[object, int] = {}
    literals: list[Accepted] = []
    rows = []  # per conjunction, the numbers of its literals
    for conjunction in conjunctions:
        row = []
        for literal in conjunction.literals:
            accepted = Accepted(literal)
            number = numbers.setdefault(accepted.key, len(literals))
            if number == len(literals):
                literals.append(accepted)
            row.append(number)
        rows.append(row)
        if not row:
            break  # always holds: what comes after is never reached
    places: dict[object, list[int]] = {}
    for number, accepted in enumerate(literals):
        if accepted.place is not None:
            places.setdefault(accepted.place, []).append(number)
    size = sum(map(len, rows))
    if len(places) == len(literals) == size or size > LARGE:
        return _chain(rows)
    return _Tree(rows, *_consequences(literals, places.values())).nodes(GROWTH * size + SLACK) or _chain(rows)


def _chain(rows: Sequence[Sequence[int]]) -> tuple[ir.TreeNode, ...]:
    nodes: list[ir.TreeNode] = []
    for c, row in enumerate(rows):
        if row:
            after = len(nodes) + len(row)
            no = after if rows[c + 1] else ~(c + 1)
            last = len(row) - 1
            nodes += [ir.TreeNode(c, i, len(nodes) + i + 1 if i < last else ~c, no) for i in range(last + 1)]
    return tuple(nodes)


def _consequences(
    literals: Sequence[Accepted], groups: Collection[Sequence[int]]
) -> tuple[list[int], list[int], list[int]]:
    """Per literal, as bit sets: what holds when it holds, what fails when it holds, what fails when it fails."""
    holds = [1 << i for i in range(len(literals))]
    fails = [0] * len(literals)
    fails_without = holds.copy()
    for group in groups:
        if len(group) <= COMPARED:
            for i in group:
                for j in group:
                    if i == j:
                        continue
                    if implies(literals[i], literals[j]):
                        holds[i] |= 1 << j
                        fails_without[j] |= 1 << i
                    elif excludes(literals[i], literals[j]):
                        fails[i] |= 1 << j
    return holds, fails, fails_without


class _Tree:
    """A state is (conjunction, literals known to hold, literals known to fail), of those that can still be asked."""

    def __init__(
        self, rows: Sequence[Sequence[int]], holds: Sequence[int], fails: Sequence[int], fails_without: Sequence[int]
    ) -> None:
        self.rows = rows
        self.holds, self.fails, self.fails_without = holds, fails, fails_without
        self.masks = [sum(1 << number for number in set(row)) for row in rows]
        self.later = self.masks.copy()
        for c in range(len(rows) - 2, -1, -1):
            self.later[c] |= self.later[c + 1]

    def nodes(self, limit: int) -> tuple[ir.TreeNode, ...] | None:
        """None: more than `limit`."""
        # States in the order of their position (conjunction, literal), which every answer moves forward.
        waiting: list[list[dict[tuple[int, int], int]]] = [[{} for _ in row] for row in self.rows]
        found: list[tuple[int, int, int, int]] = []
        order: list[int] = []

        def child(c: int, yes: int, no: int) -> int:
            while self.masks[c] & no:
                c += 1
            asked = self.masks[c] & ~yes
            if not asked:
                return ~c
            yes &= self.later[c]
            no &= self.later[c]
            i = next(i for i, number in enumerate(self.rows[c]) if asked >> number & 1)
            states = waiting[c][i]
            if (yes, no) not in states:
                states[yes, no] = len(found)
                found.append((c, i, 0, 0))
            return states[yes, no]

        child(0, 0, 0)
        for c, row in enumerate(self.rows):
            for i, number in enumerate(row):
                for (yes, no), state in waiting[c][i].items():
                    order.append(state)
                    if len(found) > limit:
                        return None
                    on_yes = child(c, yes | self.holds[number], no | self.fails[number])
                    on_no = child(c, yes, no | self.fails_without[number])
                    found[state] = (c, i, on_yes, on_no)
        index = {state: i for i, state in enumerate(order)}
        return tuple(
            ir.TreeNode(c, i, yes if yes < 0 else index[yes], no if no < 0 else index[no])
            for c, i, yes, no in map(found.__getitem__, order)
        )
