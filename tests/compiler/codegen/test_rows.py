"""The matrix says of every conjunction what its literals say: the reader's bits against the oracle's truths."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rules_compiler import ir
from rules_compiler.codegen import generate
from rules_compiler.codegen.atoms import class_atom
from rules_compiler.codegen.classes import partition
from rules_compiler.codegen.layout import CLASS_ROW, DENSE
from rules_compiler.codegen.rows import RowWriter, SlotRows, patches_of
from tests import reference
from tests.compiler.codegen import atoms
from tests.compiler.codegen.plans import blob, environment, flag, one_of
from tests.compiler.codegen.read_snapshot import Reader

literals = st.builds(ir.Literal, atoms.atoms, st.booleans())
conjunctions = st.lists(st.lists(literals, min_size=1, max_size=3, unique=True), max_size=5)


def plan(key: str, each: list[list[ir.Literal]]) -> ir.Plan:
    rules = [(ir.Constant(None), "on") for _ in each]
    written = tuple(ir.Conjunction(i, tuple(literals)) for i, literals in enumerate(each))
    return ir.Plan(flag(key, *rules), (*written, ir.Conjunction(len(each), ())), ())


def holds(literal: ir.Literal, context: dict[str, Any], now: int, of: ir.Environment) -> bool:
    return reference.truth_of(literal.atom, context, now, of) is literal.positive


@given(st.lists(conjunctions, min_size=1, max_size=3), st.lists(st.tuples(atoms.values, atoms.nows), min_size=1))
def test_bits_are_conjunctions_that_hold(flags: list[list[list[ir.Literal]]], asks: list[tuple[Any, int]]) -> None:
    of = environment(ids=atoms.IDS)
    plans = [plan(f"flag-{i}", each) for i, each in enumerate(flags)]
    reader = Reader(generate(of, plans, version=1, flag_set_id=""))
    assert reader.header.bit_count == sum(len(each) + 1 for each in flags if each)
    for value, now in asks:
        context = {"x": value}
        expected = bit = 0
        for each in filter(None, flags):
            for conjunction in (*each, []):
                expected |= all(holds(literal, context, now, of) for literal in conjunction) << bit
                bit += 1
        assert reader.matrix(context, now) == expected


@given(st.lists(atoms.atoms, min_size=1, max_size=6), st.lists(st.tuples(atoms.values, atoms.nows), min_size=2))
def test_values_share_a_class_exactly_when_all_atoms_treat_them_alike(
    asked: list[ir.Atom], asks: list[tuple[Any, int]]
) -> None:
    of = environment(ids=atoms.IDS)
    reader = Reader(generate(of, [plan("a", [[ir.Literal(atom)] for atom in asked])], version=1, flag_set_id=""))
    for (_, via), slot in reader.slots().items():
        mine = [atom for atom in asked if via_of(atom) == via]
        classes: dict[tuple[object, ...], int] = {}
        for value, now in asks:
            truths = tuple(reference.truth_of(atom, {"x": value}, now, of) for atom in mine)
            found = reader.class_of(slot, value, now)
            assert classes.setdefault(truths, found) == found
        assert len(set(classes.values())) == len(classes)


def via_of(atom: ir.Atom) -> str:
    if isinstance(atom, ir.InIds):
        return "ID"
    assert isinstance(atom, ir.Has | ir.In | ir.InNetworks | ir.Compare)
    return atom.operand.via.name


def test_a_row_that_differs_little_is_sparse() -> None:
    flags = [flag(f"f{i:04}", (one_of("country", f"c{i}"), "on")) for i in range(320)]
    reader = Reader(blob(environment(*flags)))
    slot = reader.slots()[("country",), "VALUE"]
    assert (slot.first_word, slot.word_count, slot.class_count) == (0, 10, 322)
    rows = reader.CLASS_ROWS[slot.first_row : slot.first_row + slot.class_count]
    assert [row.patches for row in rows].count(0xFFFFFFFF) == 2  # missing, and other strings: equal rows, stored once
    assert {row.patches for row in rows} == {1, 0xFFFFFFFF} and len(reader.ROWS) == 10
    assert reader.matrix({"country": "c7"}) == reader.matrix({}) | 1 << 14


def test_rows_cover_only_the_words_that_are_asked() -> None:
    flags = [flag(f"f{i:04}", (one_of("plan", "pro"), "on")) for i in range(200)]
    flags[100] = flag("f0100", (one_of("country", "DE"), "on"))
    reader = Reader(blob(environment(*flags)))
    slot = reader.slots()[("country",), "VALUE"]
    assert (slot.first_word, slot.word_count) == (200 // 64, 1)


def test_patches() -> None:
    mask = 1 | 1 << 63 | 5 << 128
    assert patches_of(mask, 2, first_word=7) == [(7, 1 | 1 << 63), (9, 5)]
    assert patches_of(mask, 1) is None
    assert patches_of(0, 0) == []


def test_equal_rows_are_stored_once() -> None:
    writer = RowWriter()
    first = writer.add(SlotRows(0, 1, [7, 7, 3]), 0)
    second = writer.add(SlotRows(4, 1, [3]), 0)
    assert (first, second) == (0, 3)
    sections = {section.name: content for section, content in writer.sections().items()}
    assert list(CLASS_ROW.iter_unpack(sections["CLASS_ROWS"])) == [(0, DENSE), (0, DENSE), (1, DENSE), (1, DENSE)]
    assert len(sections["ROWS"]) == 16


def test_classes_follow_from_the_atoms_alone() -> None:
    asked = [class_atom(one_of("x", "a", "b")), class_atom(one_of("x", "b")), class_atom(ir.Has(ir.Operand(("x",))))]
    found = [atom for atom in asked if atom is not None]
    one, other = partition(found, {}), partition(found[::-1], {})
    assert one == other and one.class_count == 5
