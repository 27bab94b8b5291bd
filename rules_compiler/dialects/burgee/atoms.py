"""What the atoms of an expression ask about: which operands, and of which kinds they must be.

    country > 3 && country == "DE"      country: as a number, and as a string

A path in a quantifier's body is that of an element, so it is told apart by the list it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from rules_compiler import ir
from rules_compiler.diagnostics import shown


class Asked(msgspec.Struct, frozen=True):
    """One atom's operands, and the kind of value they are compared as, where that is one kind."""

    operands: tuple[ir.Operand, ...]
    kind: str | None
    lists: tuple[ir.Operand, ...]  # whose elements are looked at, outermost first: what scopes 1 and 2 mean here


def atoms_of(expr: ir.Expr, lists: tuple[ir.Operand, ...] = ()) -> Iterator[Asked]:
    """In the order written. Constants and segments count as atoms that ask nothing."""
    match expr:
        case ir.And(items) | ir.Or(items):
            for item in items:
                yield from atoms_of(item, lists)
        case ir.Not(item):
            yield from atoms_of(item, lists)
        case ir.Choice(test, then, otherwise):
            for item in (test, then, otherwise):
                yield from atoms_of(item, lists)
        case ir.Quantified(_, operand, body):
            yield Asked((operand,), "a list", lists)
            yield from atoms_of(body, (*lists, operand))
        case ir.CompareOperands(left, _, right):
            yield Asked((left, right), _kind(left, None), lists)
        case ir.Constant() | ir.SegmentIs() | ir.FlagIs():
            yield Asked((), None, lists)
        case ir.In(operand, values):
            yield Asked((operand,), _kind(operand, values[0] if values else None), lists)
        case ir.Compare(operand, _, value):
            yield Asked((operand,), _kind(operand, value), lists)
        case ir.Contains(operand):
            yield Asked((operand,), "a list", lists)
        case ir.Text(operand):
            yield Asked((operand,), "a string", lists)
        case ir.Has(operand):
            yield Asked((operand,), None, lists)
        case ir.InIds(operand) | ir.InNetworks(operand):
            yield Asked((operand,), _kind(operand, None), lists)


_KIND_OF_READING: Final = {
    ir.Via.LOWER: "a string",
    ir.Via.SEMVER: "a string",
    ir.Via.IP: "a string",
}  # a size is of many kinds, a time of two


def _kind(operand: ir.Operand, value: object) -> str | None:
    if operand.via is not ir.Via.VALUE:
        return _KIND_OF_READING.get(operand.via)
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case _:
            return None


def mixed_kinds(expr: ir.Expr) -> list[tuple[str, list[str]]]:
    """Paths, as a message shows them, that one condition compares as several kinds, with those kinds."""
    kinds: dict[tuple[tuple[ir.Operand, ...], int, tuple[str, ...]], list[str]] = {}
    for atom in atoms_of(expr):
        for operand in atom.operands:
            of = kinds.setdefault((atom.lists[: operand.scope], operand.scope, operand.path), [])
            if atom.kind is not None and atom.kind not in of:
                of.append(atom.kind)
    return [
        (shown(".".join(path)) if path else "an element", found)
        for (_, _, path), found in kinds.items()
        if len(found) > 1
    ]
