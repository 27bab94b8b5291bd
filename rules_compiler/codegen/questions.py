"""TESTS, CLASS_SETS and GATE_VARIANTS: what trees, gates and prerequisites ask, each distinct test once.

country in ["DE", "FR"] must be true      ->   TEST_CLASS   slot 0, classes {2, 3}
email.endsWith("@a.com") must be false    ->   TEST_FALSE   predicate 7
flag("new-ui") must give "on"             ->   TEST_FLAG    flag 12, variants [1]
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from rules_compiler.codegen.atoms import ClassAtom
from rules_compiler.codegen.layout import TEST, Section, TestKind
from rules_compiler.codegen.links import Links
from rules_compiler.codegen.pieces import FlagAsk, Piece, Test


class TestWriter:
    __test__ = False  # not one of pytest's

    def __init__(self, links: Links, pieces: Sequence[Piece]) -> None:
        self._links = links
        self._pieces = pieces
        self._tests: list[bytes] = []
        self._class_sets: list[bytes] = []
        self._gate_variants: list[int] = []
        self._known: dict[Test, int] = {}
        self._records: dict[bytes, int] = {}
        self._sets: dict[bytes, int] = {}
        self._words = 0
        self._variant_lists: dict[tuple[int, ...], int] = {}

    def add(self, test: Test) -> int:
        index = self._known.get(test)
        if index is None:
            record = self._record(test)
            index = self._known[test] = self._records.setdefault(record, len(self._tests))
            if index == len(self._tests):
                self._tests.append(record)
        return index

    def _record(self, test: Test) -> bytes:
        if isinstance(test, FlagAsk):
            flag = self._links.flags[test.flag]
            variants = tuple(
                sorted(i for name, i in self._pieces[flag].variants.items() if (name in test.variants) is test.positive)
            )
            return TEST.pack(TestKind.FLAG, flag, self._variants(variants), len(variants))
        subject, positive = test
        if isinstance(subject, ClassAtom):
            partition = self._links.partitions[subject.slot]
            words = (partition.class_count + 63) // 64
            first = self._set(partition.accepting((subject, positive)).to_bytes(8 * words, "little"))
            return TEST.pack(TestKind.CLASS, self._links.slots[subject.slot], first, 0)
        return TEST.pack(TestKind.TRUE if positive else TestKind.FALSE, self._links.predicates[subject], 0, 0)

    def _set(self, content: bytes) -> int:
        first = self._sets.get(content)
        if first is None:
            first = self._sets[content] = self._words
            self._class_sets.append(content)
            self._words += len(content) // 8
        return first

    def _variants(self, variants: tuple[int, ...]) -> int:
        first = self._variant_lists.get(variants)
        if first is None:
            first = self._variant_lists[variants] = len(self._gate_variants)
            self._gate_variants.extend(variants)
        return first

    def sections(self) -> dict[Section, bytes]:
        return {
            Section.TESTS: b"".join(self._tests),
            Section.CLASS_SETS: b"".join(self._class_sets),
            Section.GATE_VARIANTS: struct.pack(f"<{len(self._gate_variants)}H", *self._gate_variants),
        }
