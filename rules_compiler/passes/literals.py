"""What literals say about each other: the algebra behind merging, dead rules and decision trees.

    implies:   country in ["DE"]    implies   country in ["DE", "FR"]
    excludes:  age < 18             excludes  age >= 21
    merge_all: country in ["DE", "FR"] and !(country in ["FR"])   ->   country in ["DE"]
    merge_any: country in ["DE"] or country in ["FR"]             ->   country in ["DE", "FR"]

Only *holding* counts here: a positive literal holds when its atom is true, a negative one when its atom is false, and
neither when it is unknown. INVARIANT: an answer of yes is always right; a no may be a missed chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import msgspec

from rules_compiler import ir

# Kinds of JSON values (docs/semantics.md), as bits.
MISSING, BOOLEAN, NUMBER, STRING, LIST, OBJECT, UNUSABLE = (1 << i for i in range(7))
ANY = (1 << 7) - 1

_KINDS_READ = {
    ir.Via.LOWER: STRING,
    ir.Via.SIZE: STRING | LIST | OBJECT,
    ir.Via.SEMVER: STRING,
    ir.Via.TIMESTAMP: STRING | NUMBER,
    ir.Via.IP: STRING,
    ir.Via.NOW: ANY,
}
_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


class Accepted:
    """A literal, and the values with which it holds. Made once per literal, compared many times."""

    __slots__ = (
        "bound",
        "group",
        "key",
        "kinds",
        "literal",
        "one_of",
        "pattern",
        "place",
        "points",
        "positive",
        "reading",
    )

    def __init__(self, literal: ir.Literal) -> None:
        atom = literal.atom
        self.literal = literal
        self.positive = literal.positive
        self.place: object = None  # what it looks at; None: more than one thing
        self.reading: object = None  # literals of one place and reading compare the same kind of values
        self.kinds = ANY  # with what kinds of value it can hold
        self.points: frozenset[Any] | None = None  # the values listed
        self.one_of = False  # the operand equals one of the points; else an element, or a network, does
        self.bound: tuple[str, Any] | None = None
        self.pattern: tuple[str, str] | None = None
        if type(atom) is ir.In:
            kind = _kind(atom.values[0])
            self._at(atom.operand, (atom.operand.via, kind), kind)
            self.points, self.one_of = frozenset(atom.values), True
        elif type(atom) is ir.FlagIs:
            self.place = self.reading = atom.flag
            self.points, self.one_of = frozenset(atom.variants), True
        elif type(atom) is ir.Has:
            self._at(atom.operand, None, (ANY & ~MISSING) if literal.positive else MISSING)
        elif type(atom) is ir.Compare:
            via = atom.operand.via
            kind = _kind(atom.value) if via is ir.Via.VALUE else _KINDS_READ[via]
            self._at(atom.operand, (via, kind), kind)
            value = version_key(atom.value) if via is ir.Via.SEMVER else atom.value
            if atom.op == "==":
                self.points, self.one_of = frozenset((value,)), True
            else:
                self.bound = (atom.op, value)
        elif type(atom) is ir.Text:
            self._at(atom.operand, (atom.operand.via, STRING), STRING)
            self.pattern = (atom.test, atom.pattern)
        elif type(atom) is ir.InIds:
            self._at(atom.operand, "ids", STRING | NUMBER)
            self.points = frozenset((atom.ids,))
        elif type(atom) is ir.InNetworks:
            self._at(atom.operand, "networks", STRING)
            self.points = frozenset(atom.networks)
        elif type(atom) is ir.Contains:
            self._at(atom.operand, ("contains", _kind(atom.values[0])), LIST)
            self.points = frozenset(atom.values)
        elif type(atom) is ir.Quantified:
            self._at(atom.operand, None, LIST)
        # Equal for equal literals only. Python's own equality will not do: (True,) == (1,).
        if self.reading is None:
            detail: object = msgspec.json.encode(atom)
        else:
            detail = (self.reading, self.points, self.bound, self.pattern)
        self.key = (type(atom), literal.positive, self.place, detail)
        self.group = (
            self.key[2:] if self.place is None else self.place
        )  # literals of two groups say nothing of each other

    def _at(self, operand: ir.Operand, reading: object, kinds: int) -> None:
        self.place, self.reading, self.kinds = (operand.scope, operand.path), reading, kinds


def _kind(value: object) -> int:
    return BOOLEAN if type(value) is bool else STRING if type(value) is str else NUMBER


@lru_cache(4096)
def version_key(text: str) -> tuple[Any, ...]:
    """Sorts as SemVer 2.0.0 section 11 says.

    >>> version_key("v1.2") == version_key("1.2.0+build"), version_key("1.2.0-rc.1") < version_key("1.2.0")
    (True, True)
    """
    numbers, dash, pre = text.removeprefix("v").partition("+")[0].partition("-")
    parts = [int(part) for part in numbers.split(".")]
    release = (*parts, *[0] * (3 - len(parts)))
    if not dash:
        return (*release, 1, ())  # a release comes after its pre-releases
    return (*release, 0, tuple((0, int(i), "") if i.isdigit() else (1, 0, i) for i in pre.split(".")))


def implies(a: Accepted, b: Accepted) -> bool:
    """Whenever `a` holds, `b` holds."""
    if a.key == b.key:
        return True
    if a.place is None or a.place != b.place:
        return False
    if type(b.literal.atom) is ir.Has:
        return a.kinds & ~b.kinds == 0
    if a.reading is None or a.reading != b.reading:
        return False
    if a.positive:
        return _within(a, b) if b.positive else _apart(a, b)
    return not b.positive and _within(b, a)


def excludes(a: Accepted, b: Accepted) -> bool:
    """`a` and `b` never hold together."""
    if a.place is None or a.place != b.place:
        return a.positive is not b.positive and _opposite(a, b)
    if a.kinds & b.kinds == 0:
        return True
    if a.reading is None or a.reading != b.reading:
        return a.positive is not b.positive and _opposite(a, b)
    if a.positive:
        return _apart(a, b) if b.positive else _within(a, b)
    return b.positive and _within(b, a)


def _opposite(a: Accepted, b: Accepted) -> bool:
    return a.key[0] is b.key[0] and a.key[2:] == b.key[2:]


def _within(x: Accepted, y: Accepted) -> bool:
    """Every value that makes the atom of `x` true makes the atom of `y` true; both have one place and reading."""
    if x.points is not None:
        if y.points is not None:
            return x.points <= y.points
        return x.one_of and all(_satisfies(point, y) for point in x.points)
    if x.bound is not None and y.bound is not None:
        (op_x, value_x), (op_y, value_y) = x.bound, y.bound
        return op_x[0] == op_y[0] and (
            _BOUNDS[op_y[0]](value_x, value_y) or (value_x == value_y and (op_x == op_y or op_y[1:] == "="))
        )
    if x.pattern is not None and y.pattern is not None:
        (test_x, text_x), (test_y, text_y) = x.pattern, y.pattern
        if x.pattern == y.pattern:
            return True
        if "matches" in (test_x, test_y):
            return False
        # All that is known of a string that `x` accepts is that the text is there: at its start, its end, or somewhere.
        return _tests(text_x, test_y, text_y) and test_y in (test_x, "contains")
    return False


def _apart(x: Accepted, y: Accepted) -> bool:
    """No value makes the atoms of both true; both have one place and reading."""
    if x.points is not None and y.points is not None:
        return x.one_of and y.one_of and x.points.isdisjoint(y.points)
    if x.points is not None:
        return x.one_of and all(_satisfies(point, y) is False for point in x.points)
    if y.points is not None:
        return _apart(y, x)
    if x.bound is not None and y.bound is not None:
        (op_x, value_x), (op_y, value_y) = x.bound, y.bound
        if op_x[0] == op_y[0]:
            return False
        low, high = (value_y, value_x) if op_x[0] == "<" else (value_x, value_y)
        return bool(low > high) or (low == high and not (op_x[1:] == op_y[1:] == "="))
    if x.pattern is not None and y.pattern is not None and x.pattern[0] == y.pattern[0] != "contains":
        test, a, b = x.pattern[0], x.pattern[1], y.pattern[1]
        return test != "matches" and not _tests(a, test, b) and not _tests(b, test, a)
    return False


def _satisfies(point: Any, y: Accepted) -> bool | None:
    """Whether this value makes the atom of `y`, of its reading, true; None where that takes a regex."""
    if y.bound is not None:
        return _BOUNDS[y.bound[0]](point, y.bound[1])
    if y.pattern is not None:
        return None if y.pattern[0] == "matches" else _tests(point, *y.pattern)
    return None


def _tests(text: str, test: str, part: str) -> bool:
    if test == "starts_with":
        return text.startswith(part)
    return text.endswith(part) if test == "ends_with" else part in text


def grouped(items: Iterable[Accepted]) -> dict[object, list[Accepted]]:
    """Only literals of one group can imply or exclude each other: what is compared each with each is short."""
    groups: dict[object, list[Accepted]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item)
    return groups


def merge_all(items: Iterable[Accepted]) -> list[Accepted] | None:
    """The same conjunction in fewer literals; None: they can never hold together."""
    merged: list[Accepted] = []
    for group in grouped(items).values():
        kept = _all_of_group(group) if len(group) > 1 else group
        if kept is None:
            return None
        merged += kept
    return merged


def _all_of_group(group: list[Accepted]) -> list[Accepted] | None:
    kept: list[Accepted] = []
    todo = group[::-1]
    while todo:
        new = todo.pop()
        for i, old in enumerate(kept):
            if implies(old, new):
                break
            if excludes(old, new):
                return None
            both = new if implies(new, old) else _meet(old, new)
            if both is not None:
                del kept[i]
                todo.append(both)  # what is stronger now may swallow others: judged against all that are kept
                break
        else:
            kept.append(new)
    return kept


def merge_any(items: Iterable[Accepted]) -> list[Accepted]:
    """The same disjunction in fewer literals."""
    merged: list[Accepted] = []
    for group in grouped(items).values():
        merged += _any_of_group(group) if len(group) > 1 else group
    return merged


def _any_of_group(group: list[Accepted]) -> list[Accepted]:
    lists: dict[object, list[Accepted]] = {}  # those of which one can be made
    for item in group:
        joins = type(item.literal.atom) in _LISTS and (item.positive or item.one_of)
        which = (type(item.literal.atom), item.positive, item.reading) if joins else item.key
        lists.setdefault(which, []).append(item)
    kept: list[Accepted] = []
    for joining in lists.values():
        for new in _joined(joining):
            if not any(implies(new, old) for old in kept):
                kept = [old for old in kept if not implies(old, new)]
                kept.append(new)
    return kept


def _meet(a: Accepted, b: Accepted) -> Accepted | None:
    """One literal that holds when both do, where there is one."""
    if a.place is None or a.place != b.place or a.reading is None or a.reading != b.reading:
        return None
    for x, y in ((a, b), (b, a)):
        if x.positive and x.one_of and x.points is not None:
            if y.points is not None:
                return _listing(x, x.points & y.points if y.positive else x.points - y.points)
            tested = [(point, _satisfies(point, y)) for point in x.points]
            if any(satisfied is None for _, satisfied in tested):
                return None
            return _listing(x, frozenset(point for point, satisfied in tested if satisfied is y.positive))
    if not a.positive and not b.positive and type(a.literal.atom) is type(b.literal.atom):
        return _listing(a, a.points | b.points) if a.points is not None and b.points is not None else None
    return None


def _joined(items: list[Accepted]) -> list[Accepted]:
    """Literals of one place and reading that hold when any of these do: one, where the lists can be joined."""
    lists = [item.points for item in items if item.points is not None]
    if len(items) == 1 or len(lists) < len(items):
        return items[:1] if len({item.key for item in items}) == 1 else items
    points = frozenset().union(*lists) if items[0].positive else lists[0].intersection(*lists)
    joined = _listing(items[0], points)
    return items if joined is None else [joined]


_LISTS = (ir.In, ir.FlagIs, ir.InNetworks, ir.Contains)


def _listing(model: Accepted, points: frozenset[Any]) -> Accepted | None:
    """The literal of `model` over other points; None where no atom says it (an empty list, a version)."""
    atom, values = model.literal.atom, tuple(sorted(points))
    if not values:
        return None
    if isinstance(atom, ir.In | ir.Contains):
        return Accepted(ir.Literal(type(atom)(atom.operand, values), model.positive))
    if isinstance(atom, ir.InNetworks):
        return Accepted(ir.Literal(ir.InNetworks(atom.operand, values), model.positive))
    if isinstance(atom, ir.FlagIs):
        return Accepted(ir.Literal(ir.FlagIs(atom.flag, values), model.positive))
    return None
