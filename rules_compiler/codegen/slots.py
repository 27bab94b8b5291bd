"""NODES, SLOTS and the tables by which a value finds its class.

country VALUE: "DE" class 2, "FR" class 3      ->   DICTIONARY  … ["FR" 3] [-] ["DE" 2] [-]
app.version SEMVER: >= 2.3.0                   ->   POINTS 2.3.0-, REGIONS 1 2 2
"""

from __future__ import annotations

import struct

from rules_compiler.codegen.atoms import SlotKey
from rules_compiler.codegen.classes import Partition
from rules_compiler.codegen.dictionary import linked
from rules_compiler.codegen.hashing import hash64
from rules_compiler.codegen.keys import Point
from rules_compiler.codegen.layout import ID_TABLE, NODE, NONE16, POINT, SLOT, Section
from rules_compiler.codegen.links import Links, Path
from rules_compiler.codegen.rows import RowWriter, rows_of
from rules_compiler.codegen.tables import Item, hash_of_node, table
from rules_compiler.codegen.text import TextPool


def write_nodes(links: Links, text: TextPool) -> tuple[bytes, bytes, int]:
    """NODES, NODE_TABLE and the table's seed."""
    parents: set[Path] = {path[:-1] for path in links.nodes if path}
    nodes: list[bytes] = []
    items: list[Item] = []
    for path, index in links.nodes.items():
        bits = path in parents, path in links.lists
        if not path:
            nodes.append(NODE.pack(0, 0, NONE16, *bits))
            continue
        name, parent = path[-1].encode(), links.nodes[path[:-1]]
        at, length = text.intern(name)
        nodes.append(NODE.pack(at, length, parent, *bits))
        items.append(Item(hash_of_node(hash64(name), parent), at, length, index, parent))
    entries, _, seed = table(items)
    return b"".join(nodes), entries, seed


class SlotWriter:
    def __init__(self, links: Links, text: TextPool, rows: RowWriter) -> None:
        self._links = links
        self._text = text
        self._rows = rows
        self._slots: list[bytes] = []
        self._points: list[bytes] = []
        self._known_points: dict[tuple[Point, ...], int] = {}
        self._regions: list[int] = []
        self._dictionary: list[bytes] = []
        self._entry_count = 0
        self._id_tables: list[bytes] = []
        self._id_starts: list[bytes] = []
        self._id_tags: list[bytes] = []
        self._id_classes: list[bytes] = []
        self._start_count = self._id_count = 0

    def add(self, slot: SlotKey, classes: Partition) -> None:
        rows = rows_of(classes, self._links.asked.get(slot, {}))
        first_point = self.add_points(classes.points)
        first_region = len(self._regions)
        self._regions += classes.regions
        first_entry, bits, seed = self._add_dictionary(classes)
        id_table = self._add_ids(classes)
        self._slots.append(
            SLOT.pack(
                self._links.nodes[slot.path],
                slot.via,
                bits,
                classes.class_count,
                *classes.kinds,
                classes.default,
                first_point,
                len(classes.points),
                first_region,
                first_entry,
                id_table,
                self._rows.add(rows, classes.default),
                rows.first_word,
                rows.word_count,
                seed,
            )
        )

    def add_points(self, points: tuple[Point, ...]) -> int:
        first = self._known_points.get(points)
        if first is None:
            first = self._known_points[points] = len(self._points)
            for point in points:
                at, length = self._text.intern(point.prerelease.encode()) if point.prerelease else (0, 0)
                self._points.append(POINT.pack(point.hi, point.lo, at, length))
        return first

    def _add_dictionary(self, classes: Partition) -> tuple[int, int, int]:
        made = classes.strings
        if made is None:
            return 0, 0, 0
        first = self._entry_count
        self._dictionary.append(linked(made, self._text.append(made.texts)))
        self._entry_count += 1 << made.bits
        return first, made.bits, made.seed

    def _add_ids(self, classes: Partition) -> int:
        ids = classes.ids
        if ids is None:
            return 0
        self._id_tables.append(ID_TABLE.pack(ids.bits, ids.count, self._start_count, self._id_count))
        self._id_starts.append(ids.starts)
        self._id_tags.append(ids.tags)
        self._id_classes.append(ids.classes)
        self._start_count += len(ids.starts) // 4
        self._id_count += ids.count
        return len(self._id_tables) - 1

    def sections(self) -> dict[Section, bytes]:
        return {
            Section.SLOTS: b"".join(self._slots),
            Section.POINTS: b"".join(self._points),
            Section.REGIONS: struct.pack(f"<{len(self._regions)}H", *self._regions),
            Section.DICTIONARY: b"".join(self._dictionary),
            Section.ID_TABLES: b"".join(self._id_tables),
            Section.ID_STARTS: b"".join(self._id_starts),
            Section.ID_TAGS: b"".join(self._id_tags),
            Section.ID_CLASSES: b"".join(self._id_classes),
        }
