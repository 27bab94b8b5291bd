"""Which atoms a table or breakpoints decide, and with what values each is true.

    country in ["DE", "FR"]      ->   ClassAtom(slot=(("country",), VALUE), domain="strings", texts=(b"DE", b"FR"))
    age >= 18                    ->   ClassAtom(slot=(("age",), VALUE), domain="ordered", spans=((before 18, end),))
    email.endsWith("@a.com")     ->   None: a predicate, see predicates.py

Equal atoms of any flags are one object, so that they can be told apart, and found in dictionaries, by identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from weakref import WeakValueDictionary

import msgspec

from rules_compiler import ir
from rules_compiler.codegen import keys
from rules_compiler.codegen.keys import Point
from rules_compiler.codegen.layout import Via

VIAS: Final = {
    ir.Via.VALUE: Via.VALUE,
    ir.Via.LOWER: Via.LOWER,
    ir.Via.SIZE: Via.SIZE,
    ir.Via.SEMVER: Via.SEMVER,
    ir.Via.TIMESTAMP: Via.TIMESTAMP,
    ir.Via.IP: Via.IP,
    ir.Via.NOW: Via.NOW,
}


class SlotKey(NamedTuple):
    """One reading of one path."""

    path: tuple[str, ...]
    via: Via


class Cut(NamedTuple):
    """A place between ordered values: just before the point, or just after it. None stands for either end."""

    point: Point
    after: bool


Span = tuple[Cut | None, Cut | None]  # from, up to
Domain = Literal["has", "strings", "booleans", "ordered", "ids"]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ClassAtom:
    """True for some values of its domain, false for the others, unknown for values of other kinds."""

    key: bytes  # equal for equal atoms; orders them
    slot: SlotKey
    domain: Domain
    texts: tuple[bytes, ...] = ()  # strings: those it accepts
    booleans: frozenset[bool] = frozenset()  # booleans: those it accepts
    spans: tuple[Span, ...] = ()  # ordered: those it accepts, ascending, apart from each other
    ids: str = ""  # ids: the name of the list


Ask = tuple[ClassAtom, bool]  # the atom must be true, or must be false


_known: WeakValueDictionary[bytes, ClassAtom] = WeakValueDictionary()
_encode: Final = msgspec.json.Encoder().encode  # unlike MessagePack, it has integers of any size


def class_atom(atom: ir.Expr) -> ClassAtom | None:
    if not isinstance(atom, ir.Has | ir.In | ir.InIds | ir.InNetworks | ir.Compare) or atom.operand.scope:
        return None
    if isinstance(atom, ir.Compare) and isinstance(atom.value, str) and atom.operand.via is not ir.Via.SEMVER:
        return None
    key = _encode(atom)
    found = _known.get(key)
    return found if found is not None else _known.setdefault(key, _class_atom(key, atom))


def _class_atom(key: bytes, atom: ir.Has | ir.In | ir.InIds | ir.InNetworks | ir.Compare) -> ClassAtom:
    path, via = atom.operand.path, VIAS[atom.operand.via]
    slot = SlotKey(path, via)
    match atom:
        case ir.Has():
            return ClassAtom(key, SlotKey(path, Via.VALUE), "has")
        case ir.InIds(ids=ids):
            return ClassAtom(key, SlotKey(path, Via.ID), "ids", ids=ids)
        case ir.InNetworks(networks=networks):
            return ClassAtom(key, slot, "ordered", spans=tuple(map(_network_span, keys.merged(networks))))
        case ir.Compare(op=op, value=value):
            return ClassAtom(key, slot, "ordered", spans=(_comparison(op, point_of(via, value)),))
        case ir.In(values=values):
            texts = sorted({v.encode() for v in values if isinstance(v, str)})
            booleans = frozenset(v for v in values if isinstance(v, bool))
            if texts:
                return ClassAtom(key, slot, "strings", texts=tuple(texts))
            if booleans:
                return ClassAtom(key, slot, "booleans", booleans=booleans)
            points = sorted({keys.number(v) for v in values if not isinstance(v, str)})
            return ClassAtom(key, slot, "ordered", spans=tuple(_comparison("==", point) for point in points))


def point_of(via: Via, value: str | int | float) -> Point:
    """The constant of a comparison."""
    if isinstance(value, str):
        return keys.version(value)
    if via in (Via.TIMESTAMP, Via.NOW):
        return keys.moment(int(value))
    return keys.number(value)


def _comparison(op: ir.Order, point: Point) -> Span:
    before, after = Cut(point, False), Cut(point, True)
    return {
        "<": (None, before),
        "<=": (None, after),
        ">": (after, None),
        ">=": (before, None),
        "==": (before, after),
    }[op]


def _network_span(addresses: tuple[int, int]) -> Span:
    """Up to the address after the last, so that networks side by side share a breakpoint."""
    first, last = addresses
    return Cut(keys.address(first), False), None if last == (1 << 128) - 1 else Cut(keys.address(last + 1), False)
