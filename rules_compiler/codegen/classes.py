"""The classes of a slot: two values are in one class exactly when all its atoms treat them alike.

    country in ["DE", "FR"], country == "FR"

becomes

    0 missing and whatever is no string: both unknown     1 other strings: both false
    2 "DE": true, false                                    3 "FR": true, true

A class is the first value with its *signature*: which atoms are known for it, and which of these are true. Classes are
numbered as they are met: kinds, regions from below, strings and ids in order. So they follow from the atoms alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import sub

from rules_compiler.codegen.atoms import Ask, ClassAtom, Cut
from rules_compiler.codegen.dictionary import Dictionary, dictionary
from rules_compiler.codegen.hashing import id_table
from rules_compiler.codegen.keys import Point
from rules_compiler.codegen.layout import RUN
from rules_compiler.codegen.limits import CLASS_BITS, attribute, check
from rules_compiler.codegen.masks import mask_of
from rules_compiler.codegen.tables import colliding

MISSING, UNUSABLE, FALSE, TRUE, STRING, LIST, OBJECT = range(7)


@dataclass(frozen=True, slots=True)
class Ids:
    """An IdTable's part of ID_STARTS, ID_TAGS and ID_CLASSES."""

    bits: int
    count: int
    starts: bytes
    tags: bytes
    classes: bytes


@dataclass(frozen=True, slots=True)
class Partition:
    """The classes of a slot. Masks have bit c set for class c."""

    class_count: int
    kinds: tuple[int, ...]  # classes of missing, unusable, false, true, string, list, object
    default: int  # the class that most values are likely to be in
    points: tuple[Point, ...]
    regions: tuple[int, ...]  # classes: below points[0], on it, between points[0] and points[1], …
    strings: Dictionary | None
    ids: Ids | None
    true: Mapping[ClassAtom, int]
    known: Mapping[ClassAtom, int]

    def accepting(self, ask: Ask) -> int:
        """The classes with which the literal holds."""
        atom, positive = ask
        return self.true[atom] if positive else self.known[atom] & ~self.true[atom]


def partition(atoms: Sequence[ClassAtom], ids: Mapping[str, tuple[str, ...]]) -> Partition:
    """`atoms`: all those of a slot."""
    in_order = tuple(sorted(atoms, key=lambda atom: atom.key))
    lists = tuple(ids[atom.ids] for atom in in_order if atom.domain == "ids")
    return _partition_of_ids(in_order, lists) if lists else _partition(in_order)


@lru_cache(1024)
def _partition(atoms: tuple[ClassAtom, ...]) -> Partition:
    return _Sorter(atoms, ()).partition()


@lru_cache(16)  # few: a list may have a million ids
def _partition_of_ids(atoms: tuple[ClassAtom, ...], lists: tuple[tuple[str, ...], ...]) -> Partition:
    return _Sorter(atoms, lists).partition()


class _Sorter:
    def __init__(self, atoms: tuple[ClassAtom, ...], lists: tuple[tuple[str, ...], ...]) -> None:
        self.atoms = atoms
        self.lists = lists  # of a slot of ids: those of its atoms
        self.classes: dict[object, int] = {}  # signature -> class
        self.has = self.of("has")
        self.ordered = self.of("ordered")
        self.texts = self.of("strings") | self.of("ids")  # of a slot, one of the two

    def of(self, domain: str) -> int:
        return sum(1 << i for i, atom in enumerate(self.atoms) if atom.domain == domain)

    def class_of(self, known: int, true: int) -> int:
        return self.classes.setdefault((known, true), len(self.classes))

    def partition(self) -> Partition:
        kinds = self.kinds()
        points, regions, spans = self.regions()
        texts, listed = self.accepted_texts()
        count = len(self.classes)
        everything = (1 << count) - 1
        of_texts = mask_of({kinds[STRING], *texts.values()})
        known_by_domain = {
            "has": everything,
            "booleans": 1 << kinds[FALSE] | 1 << kinds[TRUE],
            "ordered": mask_of({*regions}),
            "strings": of_texts,
            "ids": of_texts,
        }
        true: dict[ClassAtom, int] = {}
        for index, atom in enumerate(self.atoms):
            if atom.domain == "has":
                true[atom] = everything & ~(1 << kinds[MISSING])
            elif atom.domain == "booleans":
                true[atom] = sum({1 << kinds[TRUE if value else FALSE] for value in atom.booleans})
            elif atom.domain == "ordered":
                true[atom] = spans[atom]
            else:
                true[atom] = mask_of(listed.get(index, ()))
        return Partition(
            class_count=count,
            kinds=kinds,
            default=kinds[STRING] if self.texts else regions[0] if points else kinds[MISSING],
            points=points,
            regions=regions,
            strings=dictionary(texts.items()) if texts and not self.lists else None,
            ids=_ids(texts) if self.lists else None,
            true=true,
            known={atom: known_by_domain[atom.domain] for atom in self.atoms},
        )

    def kinds(self) -> tuple[int, ...]:
        booleans = self.of("booleans")
        accepting = [
            sum(1 << i for i, atom in enumerate(self.atoms) if value in atom.booleans) for value in (False, True)
        ]
        missing = self.class_of(self.has, 0)
        other = self.class_of(self.has, self.has)
        false, true = (self.class_of(self.has | booleans, self.has | accepts) for accepts in accepting)
        string = self.class_of(self.has | self.texts, self.has)
        return missing, other, false, true, string, other, other

    def regions(self) -> tuple[tuple[Point, ...], tuple[int, ...], dict[ClassAtom, int]]:
        """Breakpoints, the class of each region, and for each ordered atom the classes with which it is true."""
        ordered = [(i, atom) for i, atom in enumerate(self.atoms) if atom.domain == "ordered"]
        points = sorted({cut.point for _, atom in ordered for span in atom.spans for cut in span if cut is not None})
        what = f"comparisons of {attribute(self.atoms[0].slot.path)}"
        check(what, len(ordered), CLASS_BITS // (len(points) + 1))
        index = {point: i for i, point in enumerate(points)}
        count = 2 * len(points) + 1

        def region_at(cut: Cut | None, end: int) -> int:
            return end if cut is None else 2 * index[cut.point] + (2 if cut.after else 1)

        # Sweep from below: at each region some atoms become true, or stop being so.
        toggles = [0] * (count + 1)
        spans = {}
        for i, atom in ordered:
            spans[atom] = [(region_at(low, 0), region_at(high, count)) for low, high in atom.spans]
            for first, end in spans[atom]:
                toggles[first] ^= 1 << i
                toggles[end] ^= 1 << i
        known, true = self.has | self.ordered, self.has
        regions = []
        seen = [0]  # seen[r]: the classes of regions below r
        for toggle in toggles[:-1]:
            true ^= toggle
            regions.append(self.class_of(known, true))
            seen.append(seen[-1] | 1 << regions[-1])
        # A class of a span is not met before it but in another span of the atom, since the atom would be false there.
        accepted = {
            atom: _union(seen[end] & ~seen[first] for first, end in its_spans) for atom, its_spans in spans.items()
        }
        return tuple(points), tuple(regions), accepted

    def accepted_texts(self) -> tuple[dict[bytes, int], dict[int, list[int]]]:
        """The class of each text named by an atom, and for each such atom the classes with which it is true."""
        naming: dict[bytes, tuple[int, ...]] = {}
        for i, atom in enumerate(self.atoms):
            if atom.domain == "strings" or atom.domain == "ids":
                # All atoms of a slot of ids are about lists, so they have the same places.
                texts = [text.encode() for text in self.lists[i]] if self.lists else atom.texts
                only = (i,)
                if not naming:
                    naming = dict.fromkeys(texts, only)
                    continue
                for text in texts:
                    naming[text] = naming[text] + only if text in naming else only
        classes: dict[bytes, int] = {}
        listed: dict[int, list[int]] = {}
        for text in sorted(naming):
            signature = naming[text]
            of_text = self.classes.get(signature)
            if of_text is None:
                of_text = self.classes[signature] = len(self.classes)
                for i in signature:
                    listed.setdefault(i, []).append(of_text)
            classes[text] = of_text
        return classes, listed


def _union(masks: Iterable[int]) -> int:
    result = 0
    for mask in masks:
        result |= mask
    return result


def _ids(classes: Mapping[bytes, int]) -> Ids:
    try:
        bits, starts, tags, of_ids = id_table(list(classes), array("H", classes.values()).tobytes())
    except ValueError:
        raise colliding() from None
    places = memoryview(starts).cast("I")
    if max(map(sub, places[1:], places)) > RUN:
        raise colliding()
    return Ids(bits, len(classes), starts, tags, of_ids)
