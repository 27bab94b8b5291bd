"""PREDICATES, OPS and the constants they name: programs with their places filled in.

CLASS_IS country …     ->     OP_CLASS_IS, slot 3, truths from 17
"""

from __future__ import annotations

import struct

from rules_compiler.codegen.atoms import ClassAtom
from rules_compiler.codegen.layout import OP, TEXT, OpKind, Section
from rules_compiler.codegen.links import Links
from rules_compiler.codegen.predicates import FALSE, TRUE, UNKNOWN, Op, Predicate
from rules_compiler.codegen.slots import SlotWriter
from rules_compiler.codegen.text import TextPool


class ProgramWriter:
    def __init__(self, links: Links, text: TextPool, slots: SlotWriter) -> None:
        self._links = links
        self._text = text
        self._add_points = slots.add_points
        self._ops: list[bytes] = []
        self._literals: list[bytes] = []
        self._numbers: list[float] = []
        self._truths = bytearray()
        self._lists: dict[tuple[bytes, ...], int] = {}
        self._number_lists: dict[tuple[float, ...], int] = {}
        self._known_truths: dict[ClassAtom, int] = {}
        self._regexes = 0

    def add(self, predicate: Predicate) -> tuple[int, int]:
        """Its first op, and how many."""
        first = len(self._ops)
        self._ops += [self._op(op) for op in predicate.ops]
        return first, len(predicate.ops)

    def _op(self, op: Op) -> bytes:
        operand, a, b, n = op.operand, op.a, op.b, op.n
        if operand.scope == 0:
            node, steps = self._links.nodes[operand.path], 0
        else:
            node, steps = self._texts(tuple(member.encode() for member in operand.path)), len(operand.path)
        if op.atom is not None:
            a, b = self._links.slots[op.atom.slot], self._truth(op.atom)
        elif op.text is not None:
            a, b = self._text.intern(op.text)
            if op.kind is OpKind.MATCHES:
                n, self._regexes = self._regexes, self._regexes + 1
        elif op.texts:
            a, b = self._texts(op.texts), len(op.texts)
        elif op.numbers:
            a, b = self._number_list(op.numbers), len(op.numbers)
        elif op.points:
            a = self._add_points(op.points)
        return OP.pack(op.kind, op.order, operand.via, operand.scope, node, steps, a, b, n)

    def _texts(self, texts: tuple[bytes, ...]) -> int:
        if not texts:
            return 0
        first = self._lists.get(texts)
        if first is None:
            first = self._lists[texts] = len(self._literals)
            self._literals += [TEXT.pack(*self._text.intern(text)) for text in texts]
        return first

    def _number_list(self, numbers: tuple[float, ...]) -> int:
        first = self._number_lists.get(numbers)
        if first is None:
            first = self._number_lists[numbers] = len(self._numbers)
            self._numbers.extend(numbers)
        return first

    def _truth(self, atom: ClassAtom) -> int:
        first = self._known_truths.get(atom)
        if first is None:
            first = self._known_truths[atom] = len(self._truths)
            partition = self._links.partitions[atom.slot]
            true, known = partition.true[atom], partition.known[atom]
            self._truths += bytes(
                (TRUE if true >> c & 1 else FALSE) if known >> c & 1 else UNKNOWN for c in range(partition.class_count)
            )
        return first

    def sections(self) -> dict[Section, bytes]:
        return {
            Section.OPS: b"".join(self._ops),
            Section.LITERALS: b"".join(self._literals),
            Section.NUMBERS: struct.pack(f"<{len(self._numbers)}d", *self._numbers),
            Section.TRUTHS: bytes(self._truths),
        }
