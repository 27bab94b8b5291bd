"""What a flag serves: reasons, outcomes, constants, gates and prerequisites."""

from __future__ import annotations

from typing import Any

import pytest

from rules_compiler import ir
from tests.compiler.codegen.plans import blob, environment, flag, one_of, operand, split
from tests.compiler.codegen.read_snapshot import Reader

COUNTRY = one_of("country", "DE")
SPLIT = split("salt", (20_000, "on"), (100_000, "off"))
ALL_ON = split("salt", (100_000, "on"))


def only(each: ir.Flag, *others: ir.Flag) -> tuple[Reader, Any]:
    reader = Reader(blob(environment(each, *others)))
    return reader, reader.flags()[each.key]


def answer(variant: str | None, reason: str, **more: Any) -> dict[str, Any]:
    value = {} if variant is None else {"value": variant == "on", "variant": variant}
    return {"key": "f", **value, "reason": reason, **more}


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        (flag("f"), answer("off", "STATIC")),
        (flag("f", fallthrough=None), answer(None, "DEFAULT")),
        (flag("f", fallthrough=ALL_ON), answer("on", "SPLIT")),
        (flag("f", (COUNTRY, "on"), enabled=False), answer("off", "DISABLED")),
        (flag("f", enabled=False, off_variant=None), answer(None, "DISABLED")),
        (flag("f", (ir.Constant(True), "on")), answer("on", "TARGETING_MATCH")),
        (flag("f", (ir.Constant(True), None)), answer(None, "DEFAULT")),
        (flag("f", (ir.Constant(False), "on")), answer("off", "DEFAULT")),
    ],
)
def test_what_no_context_can_change_is_a_constant(each: ir.Flag, expected: dict[str, Any]) -> None:
    reader, record = only(each)
    assert (reader.header.constant_count, record.bit_count, record.tree_count) == (1, 0, 0)
    assert reader.fragments(record) == [expected]


def test_only_outcomes_that_can_occur_in_the_order_of_rules() -> None:
    reader, record = only(flag("f", (COUNTRY, SPLIT), (one_of("plan", "pro"), "on"), fallthrough=None))
    assert reader.fragments(record) == [
        answer("on", "SPLIT"),
        answer("off", "SPLIT"),
        answer("on", "TARGETING_MATCH"),
        answer(None, "DEFAULT"),
    ]
    outcomes = reader.OUTCOMES[record.first_outcome : record.first_outcome + record.outcome_count]
    assert [outcome.variant for outcome in outcomes] == [0, 1, 0, 0xFFFF]
    assert reader.SERVES == [1 << 30, 2, 3]


def test_splits() -> None:
    halves = split("salt", (10, "on"), (20, "on"), (100_000, "off"), by=("account", "id"))
    reader, record = only(flag("f", fallthrough=halves))
    (made,) = reader.SPLITS
    assert (reader.path(made.node), made.range_count) == (("account", "id"), 2)
    assert [tuple(each) for each in reader.RANGES] == [(20, 0), (100_000, 1)]
    assert (record.bit_count, record.tree_count) == (1, 0)
    assert [reader.path(node) for node in reader.FLAG_NODES] == [("account", "id")]


def test_equal_trees_and_ranges_are_stored_once() -> None:
    flags = [flag(f"f{i}", (one_of("country", f"c{i}"), split(f"s{i}", (5, "on"), (100_000, "off")))) for i in range(9)]
    reader = Reader(blob(environment(*flags)))
    assert (len(reader.TREES), len(reader.RANGES), len(reader.FLAG_NODES), len(reader.SPLITS)) == (1, 2, 2, 9)


def test_constants_come_first_and_touch() -> None:
    reader = Reader(blob(environment(flag("a", (COUNTRY, "on")), flag("b"), flag("c", (COUNTRY, "on")), flag("d"))))
    assert list(reader.flags()) == ["b", "d", "a", "c"]
    first, second = (reader.OUTCOMES[each.first_outcome] for each in reader.FLAGS[:2])
    assert second.at == first.at + first.length + 1


def test_prerequisites() -> None:
    other = flag("other", (COUNTRY, "on"))
    reader, record = only(flag("f", prerequisites=[("other", "on"), ("plain", "off")]), other, flag("plain"))
    metadata = [{"cause": "PREREQUISITE_FAILED", "prerequisite": key} for key in ("other", "plain")]
    expected = [answer("off", "DEFAULT"), *(answer("off", "DEFAULT", metadata=each) for each in metadata)]
    assert reader.fragments(record) == expected
    assert [each.outcome for each in reader.PREREQUISITES] == [1, 2]
    tests = [reader.TESTS[each.test] for each in reader.PREREQUISITES]
    assert [(test.kind, test.subject) for test in tests] == [(3, reader.flag_index("other")), (3, 0)]
    assert [reader.GATE_VARIANTS[test.first] for test in tests] == [0, 1]
    assert record.bits == 2 and record.bit_count == 1
    assert [reader.path(reader.FLAG_NODES[record.first_node])] == [("country",)]


def test_a_flag_that_clients_see_does_not_name_its_prerequisite() -> None:
    seen = flag("f", prerequisites=[("other", "on")], client_visible=True)
    reader, record = only(seen, flag("other", (COUNTRY, "on")))
    assert reader.fragments(record)[-1] == answer("off", "DEFAULT", metadata={"cause": "PREREQUISITE_FAILED"})


def test_gates() -> None:
    variants = {"a": '"A"', "b": '"B"', "c": '"C"'}
    other = flag("other", (COUNTRY, "a"), variants=variants, fallthrough="b", off_variant=None)
    is_a = ir.FlagIs("other", ("a",))
    reader, record = only(flag("f", (ir.And((one_of("plan", "pro"), ir.Not(is_a))), "on"), (is_a, SPLIT)), other)
    first, second = reader.GATED
    serves = reader.SERVES[record.first_bit :]
    assert serves == [2 << 30, 2 << 30 | 1, 3] and (first.serve, second.serve) == (0, 1 << 30)
    gates = [reader.TESTS[reader.FLAG_TESTS[each.first_test]] for each in (first, second)]
    opening = [reader.GATE_VARIANTS[each.first : each.first + each.count] for each in gates]
    assert opening == [[1, 2], [0]]
    assert all(gate.kind == 3 and gate.subject == reader.flag_index("other") for gate in gates)


def test_flags_that_read_the_time() -> None:
    soon = ir.Compare(operand(via=ir.Via.NOW), "<", 10)
    compared = ir.CompareOperands(operand("until", via=ir.Via.TIMESTAMP), "<", operand(via=ir.Via.NOW), 10**30)
    reader = Reader(
        blob(
            environment(
                flag("a", (soon, "on")),
                flag("b", (compared, "on")),
                flag("c", (COUNTRY, "on"), prerequisites=[("b", "on")], client_visible=True),
                flag("d", (COUNTRY, "on"), client_visible=True),
            )
        )
    )
    assert {key: each.bits for key, each in reader.flags().items()} == {"a": 8, "b": 8, "c": 1 | 2 | 8, "d": 1}
