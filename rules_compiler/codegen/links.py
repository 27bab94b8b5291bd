"""What the flags of an environment share, and the numbers that follow from it.

pieces of a, b       ->       bits      a: 0-2, b: 3-4
                              nodes     () 0, (app,) 1, (app, version) 2, (country,) 3
                              slots     app.version SEMVER 0: bit 3 asks >= 2.3.0;  country VALUE 1: bits 0, 4 ask …
                              predicates email.endsWith(…) 0: bit 1 needs it true
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rules_compiler.codegen import layout
from rules_compiler.codegen.atoms import Ask, ClassAtom, SlotKey
from rules_compiler.codegen.classes import Partition, partition
from rules_compiler.codegen.limits import attribute, check
from rules_compiler.codegen.pieces import Piece
from rules_compiler.codegen.predicates import Predicate

Path = tuple[str, ...]
Asked = dict[tuple[Ask, ...], list[int]]  # what conjunctions ask of a slot at once -> their bits


@dataclass(frozen=True, slots=True)
class Links:
    first_bits: list[int]  # of each piece
    bit_count: int
    constant_count: int
    flags: dict[str, int]
    nodes: dict[Path, int]  # parents before children
    lists: set[Path]  # nodes whose elements a predicate looks at
    slots: dict[SlotKey, int]
    asked: dict[SlotKey, Asked]
    partitions: dict[SlotKey, Partition]
    predicates: dict[Predicate, int]
    needed_true: dict[Predicate, list[int]]  # bits
    needed_false: dict[Predicate, list[int]]


def link(pieces: Sequence[Piece], ids: Mapping[str, tuple[str, ...]]) -> Links:
    first_bits: list[int] = []
    asked: dict[SlotKey, Asked] = {}
    needed: tuple[dict[Predicate, list[int]], dict[Predicate, list[int]]] = ({}, {})
    predicates: dict[Predicate, int] = {}
    explained: dict[ClassAtom, None] = {}
    paths: set[Path] = set()
    bit = 0
    for piece in pieces:
        first_bits.append(bit)
        for slot, asks, conjunction in piece.class_asks:
            of_slot = asked.get(slot)
            if of_slot is None:
                of_slot = asked[slot] = {}
            bits = of_slot.get(asks)
            if bits is None:
                of_slot[asks] = [bit + conjunction]
            else:
                bits.append(bit + conjunction)
        for predicate, positive, conjunction in piece.predicate_asks:
            predicates.setdefault(predicate, len(predicates))
            needed[positive].setdefault(predicate, []).append(bit + conjunction)
        explained.update(dict.fromkeys(piece.explained))
        paths.update(piece.paths)
        bit += piece.bit_count
    atoms: dict[SlotKey, dict[ClassAtom, None]] = {
        slot: {atom: None for asks in of_slot for atom, _ in asks} for slot, of_slot in asked.items()
    }
    for atom in (*explained, *(atom for predicate in predicates for atom in predicate.atoms)):
        atoms.setdefault(atom.slot, {})[atom] = None
    slots = sorted(atoms)
    paths.update(slot.path for slot in slots)
    prefixes = {path[:end] for path in paths for end in range(len(path) + 1)} | {()}
    check("attributes", len(prefixes), layout.NODES)
    check("readings of attributes", len(slots), layout.SLOTS)
    check("different conditions that need a program", len(predicates), layout.PREDICATES)
    check("alternatives in all rules together", bit, layout.BITS)
    partitions = {slot: partition(tuple(atoms[slot]), ids) for slot in slots}
    for slot, classes in partitions.items():
        check(f"values of {attribute(slot.path)} that differ", classes.class_count, layout.CLASSES)
    return Links(
        first_bits=first_bits,
        bit_count=bit,
        constant_count=sum(piece.bit_count == 0 for piece in pieces),
        flags={piece.key: i for i, piece in enumerate(pieces)},
        nodes={path: i for i, path in enumerate(sorted(prefixes))},
        lists={path for predicate in predicates for path in predicate.lists},
        slots={slot: i for i, slot in enumerate(slots)},
        asked=asked,
        partitions=partitions,
        predicates=predicates,
        needed_true=needed[True],
        needed_false=needed[False],
    )
