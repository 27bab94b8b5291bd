"""Programs for what neither tables nor breakpoints decide.

    email.endsWith("@a.com") || country == "DE"

becomes

    0 ENDS_WITH email "@a.com"     1 CLASS_IS country, truth per class     2 OR 0 1

Children come before their parents, the last op is the root. Inside a predicate, what a table or breakpoints decide
about the context is read off the class. Equal programs of any flags are one object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

import msgspec

from rules_compiler import ir
from rules_compiler.codegen import keys
from rules_compiler.codegen.atoms import VIAS, ClassAtom, class_atom, point_of
from rules_compiler.codegen.keys import Point
from rules_compiler.codegen.layout import OP_DEPTH, ORDERS, OpKind, Via
from rules_compiler.diagnostics import CompileError, Diagnostic

FALSE, TRUE, UNKNOWN = range(3)


class Operand(NamedTuple):
    """What an op looks at: a path of the context (scope 0), or of the element of a quantifier."""

    path: tuple[str, ...]
    via: Via
    scope: int


_AGES: Final = 1 << 62  # microseconds; no two times are so far apart
_NOTHING: Final = Operand((), Via.VALUE, 0)


class Op(NamedTuple):
    """`a` and `b` as in engine/core/format.h; where one of the constants below is given, linking fills them in."""

    kind: OpKind
    operand: Operand = _NOTHING
    order: int = 0
    a: int = 0
    b: int = 0
    n: int = 0
    atom: ClassAtom | None = None  # CLASS_IS
    text: bytes | None = None
    texts: tuple[bytes, ...] = ()
    numbers: tuple[float, ...] = ()
    points: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Predicate:
    key: bytes
    ops: tuple[Op, ...]
    atoms: tuple[ClassAtom, ...]  # those of its CLASS_IS ops
    paths: frozenset[tuple[str, ...]]  # what it reads of the context
    lists: frozenset[tuple[str, ...]]  # the lists of the context that it looks into
    reads_now: bool


_LOOKS_INSIDE: Final = (OpKind.HAS_STRING, OpKind.HAS_NUMBER, OpKind.HAS_BOOLEAN, OpKind.EXISTS, OpKind.ALL)
_known: WeakValueDictionary[bytes, Predicate] = WeakValueDictionary()
_encode: Final = msgspec.json.Encoder().encode


def predicate(condition: ir.Expr, place: str) -> Predicate:
    """`place`: where it is written, in case it is too deep."""
    key = _encode(condition)
    found = _known.get(key)
    if found is not None:
        return found
    program = _Program()
    program.add(condition)
    if program.depth > OP_DEPTH:
        message = f"the condition is {program.depth} operators deep, more than {OP_DEPTH}"
        raise CompileError((Diagnostic("B531", "error", place, message, "split the rule into several"),))
    return _known.setdefault(key, _described(key, program.ops))


def _described(key: bytes, ops: Sequence[Op]) -> Predicate:
    atoms = tuple(op.atom for op in ops if op.atom is not None)
    outer = [op for op in ops if op.operand.scope == 0]
    paths = {op.operand.path for op in outer} | {atom.slot.path for atom in atoms}
    return Predicate(
        key=key,
        ops=tuple(ops),
        atoms=atoms,
        paths=frozenset(path for path in paths if path),
        lists=frozenset(op.operand.path for op in outer if op.kind in _LOOKS_INSIDE),
        reads_now=any(op.operand.via is Via.NOW for op in ops) or any(a.slot.via is Via.NOW for a in atoms),
    )


class _Program:
    """The ops of a condition. They are a tree: each has one parent, as the verifier demands."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.depths: list[int] = []

    @property
    def depth(self) -> int:
        return self.depths[-1]

    def put(self, op: Op, *children: int) -> int:
        self.ops.append(op)
        self.depths.append(1 + max((self.depths[child] for child in children), default=0))
        return len(self.ops) - 1

    def add(self, expr: ir.Expr) -> int:
        match expr:
            case ir.Constant(value=value):
                return self.put(Op(OpKind.CONSTANT, a=UNKNOWN if value is None else int(value)))
            case ir.And(items=items):
                return self.fold(OpKind.AND, [self.add(item) for item in items])
            case ir.Or(items=items):
                return self.fold(OpKind.OR, [self.add(item) for item in items])
            case ir.Not(item=item):
                inner = self.add(item)
                return self.put(Op(OpKind.NOT, a=inner), inner)
            case ir.Choice(test=test, then=then, otherwise=otherwise):
                # The third is unknown when the test is, else false.
                no = ir.Not(test)
                return self.add(ir.Or((ir.And((test, then)), ir.And((no, otherwise)), ir.And((test, no)))))
            case ir.SegmentIs() | ir.Named() | ir.FlagIs():
                raise AssertionError(f"not part of a predicate: {expr}")
        atom = class_atom(expr)
        return self.put(Op(OpKind.CLASS_IS, atom=atom)) if atom is not None else self.atom(expr)

    def fold(self, kind: OpKind, items: Sequence[int]) -> int:
        """Halved again and again, so that many items are not deep."""
        if len(items) <= 1:
            return items[0] if items else self.put(Op(OpKind.CONSTANT, a=int(kind is OpKind.AND)))
        half = len(items) // 2
        left, right = self.fold(kind, items[:half]), self.fold(kind, items[half:])
        return self.put(Op(kind, a=left, b=right), left, right)

    def atom(self, expr: ir.Atom) -> int:
        match expr:
            case ir.Has(operand=operand):
                return self.put(Op(OpKind.HAS, _operand(operand)))
            case ir.In(operand=operand, values=values):
                return self.put(_IN[type(values[0])](OpKind.IN_STRINGS, _operand(operand), values))
            case ir.Contains(operand=operand, values=values):
                return self.put(_IN[type(values[0])](OpKind.HAS_STRING, _operand(operand), values))
            case ir.InNetworks(operand=operand, networks=networks):
                ranges = keys.merged(networks)
                points = tuple(keys.address(number) for both in ranges for number in both)
                return self.put(Op(OpKind.IN_NETWORKS, _operand(operand), b=len(ranges), points=points))
            case ir.Compare(operand=operand, op=op, value=value):
                of = _operand(operand)
                if isinstance(value, str) and of.via is not Via.SEMVER:
                    return self.put(Op(OpKind.ORDER_TEXT, of, ORDERS[op], text=value.encode()))
                return self.put(Op(OpKind.ORDER_KEY, of, ORDERS[op], points=(point_of(of.via, value),)))
            case ir.Text(operand=operand, test=test, pattern=pattern):
                return self.put(Op(_TEXT_TESTS[test], _operand(operand), text=pattern.encode()))
            case ir.CompareOperands(left=left, op=op, right=right, offset=offset):
                other = self.put(Op(OpKind.OPERAND, _operand(right)))
                return self.put(
                    Op(OpKind.ORDER_OPERANDS, _operand(left), ORDERS[op], a=other, n=max(-_AGES, min(_AGES, offset))),
                    other,
                )
            case ir.Quantified(kind=kind, operand=operand, body=body):
                inner = self.add(body)
                quantifier = OpKind.EXISTS if kind == "exists" else OpKind.ALL
                return self.put(Op(quantifier, _operand(operand), a=inner), inner)
        raise AssertionError(f"not an atom of a predicate: {expr}")


def _operand(operand: ir.Operand) -> Operand:
    return Operand(operand.path, VIAS[operand.via], operand.scope)


# Ops about lists of values come in threes, strings first: IN_STRINGS, IN_NUMBERS, IN_BOOLEANS and HAS_….


def _strings(first: OpKind, operand: Operand, values: Sequence[object]) -> Op:
    return Op(first, operand, texts=tuple(sorted({str(value).encode() for value in values})))


def _numbers(first: OpKind, operand: Operand, values: Sequence[object]) -> Op:
    numbers = tuple(sorted({float(value) + 0.0 for value in values if isinstance(value, int | float)}))
    return Op(OpKind(first + 1), operand, numbers=numbers)


def _booleans(first: OpKind, operand: Operand, values: Sequence[object]) -> Op:
    return Op(OpKind(first + 2), operand, a=sum(2 if value else 1 for value in set(values)))


_IN: Final[dict[type, Callable[[OpKind, Operand, Sequence[object]], Op]]] = {
    str: _strings,
    int: _numbers,
    float: _numbers,
    bool: _booleans,
}
_TEXT_TESTS: Final = {
    "starts_with": OpKind.STARTS_WITH,
    "ends_with": OpKind.ENDS_WITH,
    "contains": OpKind.CONTAINS_TEXT,
    "matches": OpKind.MATCHES,
}
