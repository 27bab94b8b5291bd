"""FLAGS and what belongs to one flag each: its serves, gates, prerequisites, outcomes, splits, tree, tests and nodes.

    piece of checkout, from bit 7, fragments at 4711    ->    Flag(first_bit=7, …), Outcome(at=4711, …), …

What is equal in several flags (trees, ranges of splits, sets of nodes) is stored once.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from rules_compiler.codegen.layout import (
    FLAG,
    FLAG_DEPENDS,
    FLAG_TIMED,
    GATED,
    OUTCOME,
    PREREQUISITE,
    RANGE,
    SERVE_GATED,
    SERVE_SPLIT,
    SPLIT,
    TREE_NODE,
    TYPES,
    Section,
)
from rules_compiler.codegen.links import Links
from rules_compiler.codegen.pieces import Piece, ServePiece
from rules_compiler.codegen.questions import TestWriter
from rules_compiler.codegen.tables import Item, table
from rules_compiler.codegen.text import TextPool


class _Shared:
    """A section in which equal runs of records are stored once."""

    def __init__(self, record_size: int) -> None:
        self.content: list[bytes] = []
        self._size = record_size
        self._count = 0
        self._known: dict[bytes, int] = {b"": 0}

    def add(self, run: bytes) -> int:
        first = self._known.get(run)
        if first is None:
            first = self._known[run] = self._count
            self.content.append(run)
            self._count += len(run) // self._size
        return first


class FlagWriter:
    """Flags are added in layout order, since a flag reads what those it depends on read."""

    def __init__(self, links: Links, text: TextPool, tests: TestWriter, chunks: Mapping[str, int]) -> None:
        self._links = links
        self._text = text
        self._tests = tests
        self._chunks = chunks
        self._flags: list[bytes] = []
        self._items: list[Item] = []
        self._nodes: list[frozenset[int]] = []  # per flag
        self._timed: list[bool] = []
        self._node_runs = _Shared(2)
        self._trees = _Shared(TREE_NODE.size)
        self._ranges = _Shared(RANGE.size)
        self._flag_tests: list[int] = []
        self._serves: list[int] = []
        self._gated: list[bytes] = []
        self._prerequisites: list[bytes] = []
        self._outcomes: list[bytes] = []
        self._splits: list[bytes] = []

    def add(self, piece: Piece, fragments_at: int) -> None:
        index = len(self._flags)
        links = self._links
        key_at, key_length = self._text.intern(piece.key_bytes)
        self._items.append(Item(piece.key_hash, key_at, key_length, index))
        node_run = self._add_nodes(piece)
        first_node = self._node_runs.add(node_run)
        first_test = len(self._flag_tests)
        add_test = self._tests.add
        self._flag_tests += [add_test(test) for test in piece.tests]
        self._add_serves(piece)
        first_outcome, first_prerequisite = len(self._outcomes), len(self._prerequisites)
        self._outcomes += [
            OUTCOME.pack(fragments_at + at, length, variant, reason, bits)
            for at, length, variant, reason, bits in piece.outcomes
        ]
        self._prerequisites += [PREREQUISITE.pack(add_test(ask), outcome) for ask, outcome in piece.prerequisites]
        self._flags.append(
            FLAG.pack(
                key_at,
                key_length,
                piece.bits | FLAG_TIMED * self._timed[index],
                TYPES[piece.type],
                links.first_bits[index],
                piece.bit_count,
                first_node,
                len(node_run) // 2,
                first_test,
                len(self._flag_tests) - first_test,
                self._trees.add(piece.tree),
                len(piece.tree) // TREE_NODE.size,
                first_outcome,
                len(piece.outcomes),
                first_prerequisite,
                len(piece.prerequisites),
                len(piece.variants),
                self._chunks[piece.key],
            )
        )

    def _add_nodes(self, piece: Piece) -> bytes:
        number = self._links.nodes
        nodes = frozenset([number[path] for path in piece.paths])
        timed = bool(piece.bits & FLAG_TIMED)
        if piece.bits & FLAG_DEPENDS:
            others = [self._links.flags[key] for key in piece.depends]
            nodes = nodes.union(*(self._nodes[other] for other in others))
            timed = timed or any(self._timed[other] for other in others)
        self._nodes.append(nodes)
        self._timed.append(timed)
        return struct.pack(f"<{len(nodes)}H", *sorted(nodes))

    def _add_serves(self, piece: Piece) -> None:
        first_split = len(self._splits)
        for salt, by, ranges in piece.splits:
            first_range = self._ranges.add(ranges)
            self._splits.append(SPLIT.pack(salt, self._links.nodes[by], len(ranges) // RANGE.size, first_range))
        for each in piece.serves:
            serve = each.serve + first_split if each.serve & SERVE_SPLIT else each.serve
            self._serves.append(self._add_gates(each, serve) if each.gates else serve)

    def _add_gates(self, each: ServePiece, serve: int) -> int:
        self._gated.append(GATED.pack(serve, len(self._flag_tests), len(each.gates)))
        self._flag_tests += [self._tests.add(gate) for gate in each.gates]
        return SERVE_GATED | len(self._gated) - 1

    def table(self) -> tuple[bytes, int]:
        """FLAG_TABLE and its seed."""
        entries, _, seed = table(self._items)
        return entries, seed

    def sections(self) -> dict[Section, bytes]:
        return {
            Section.FLAGS: b"".join(self._flags),
            Section.FLAG_NODES: b"".join(self._node_runs.content),
            Section.FLAG_TESTS: struct.pack(f"<{len(self._flag_tests)}I", *self._flag_tests),
            Section.TREES: b"".join(self._trees.content),
            Section.SERVES: struct.pack(f"<{len(self._serves)}I", *self._serves),
            Section.GATED: b"".join(self._gated),
            Section.PREREQUISITES: b"".join(self._prerequisites),
            Section.OUTCOMES: b"".join(self._outcomes),
            Section.SPLITS: b"".join(self._splits),
            Section.RANGES: b"".join(self._ranges.content),
        }
