"""What explanations find in a snapshot."""

from __future__ import annotations

from typing import Any

import msgspec

from rules_compiler import ir
from rules_compiler.codegen.source_map import FLAGS_IN_A_CHUNK
from tests.compiler.codegen.plans import blob, environment, flag, one_of, operand, plans, split
from tests.compiler.codegen.read_snapshot import Reader


def described(reader: Reader, key: str) -> Any:
    return reader.chunk(reader.flags()[key].chunk)[key]


def as_json(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def test_a_flag_is_there_as_written() -> None:
    each = flag("f", (one_of("country", "DE"), split("s", (5, "on"), (100_000, "off"))), (ir.Constant(False), "on"))
    found = described(Reader(blob(environment(each))), "f")
    assert found == {"flag": as_json(each), "ids": []}


def test_segments_are_written_in_beside_their_names() -> None:
    staff, pro = one_of("email", "a@b.c"), one_of("plan", "pro")
    of = environment(
        flag("f", (ir.Not(ir.SegmentIs("both")), "on")),
        segments={"staff": staff, "both": ir.Or((ir.SegmentIs("staff"), pro))},
    )
    (rule,) = described(Reader(blob(of)), "f")["flag"]["rules"]
    assert rule["when"] == as_json(ir.Not(ir.Named("both", ir.Or((ir.Named("staff", staff), pro)))))
    assert as_json(ir.Named("staff", staff)) == {"node": "segment", "segment": "staff", "item": as_json(staff)}


def test_a_segment_inside_a_quantifier_brings_its_own_further_in() -> None:
    def any_of(attribute: str, scope: int, body: ir.Expr) -> ir.Expr:
        return ir.Quantified("exists", operand(attribute, scope=scope), body)

    inner = ir.In(operand("sku", scope=1), ("x",))
    same = ir.CompareOperands(operand("a", scope=1), "==", operand("b"))
    pro = one_of("plan", "pro")
    segments = {"s": any_of("cart", 0, ir.And((inner, same))), "t": pro}
    outer = any_of("orders", 0, ir.Or((ir.SegmentIs("s"), ir.SegmentIs("t"), inner)))
    found = described(Reader(blob(environment(flag("f", (outer, "on")), segments=segments))), "f")
    (rule,) = found["flag"]["rules"]
    moved = ir.In(operand("sku", scope=2), ("x",))
    moved_same = ir.CompareOperands(operand("a", scope=2), "==", operand("b"))
    named = ir.Named("s", any_of("cart", 0, ir.And((moved, moved_same))))
    assert rule["when"] == as_json(any_of("orders", 0, ir.Or((named, ir.Named("t", pro), inner))))


def test_id_lists_are_named_with_their_classes_even_where_no_rule_is_left_to_ask() -> None:
    def listed(name: str) -> ir.InIds:
        return ir.InIds(operand("targetingKey"), name)

    ids = {"a": ["u-1", "u-2"], "b": ["u-2", "u-3"], "unused": ["u-9"]}
    rules: list[tuple[ir.Expr, ir.Serve]] = [(listed("a"), "on"), (ir.Constant(True), "off"), (listed("b"), "on")]
    reader = Reader(blob(environment(flag("f", *rules), ids=ids)))
    assert described(reader, "f")["ids"] == ["a", "b"]
    lists = reader.chunk(0)["ids"]
    assert sorted(lists) == ["a", "b"]
    slot = reader.SLOTS[lists["a"]["slot"]]
    classes = {user: reader.class_of_id(slot, user.encode()) for user in ("u-1", "u-2", "u-3", "u-9")}
    assert sorted(lists["a"]["classes"]) == sorted([classes["u-1"], classes["u-2"]])
    assert sorted(lists["b"]["classes"]) == sorted([classes["u-2"], classes["u-3"]])
    assert classes["u-9"] == slot.class_string


def test_a_change_of_one_flag_changes_one_chunk() -> None:
    flags = [flag(f"flag-{i}", (one_of("country", "DE"), "on")) for i in range(300)]
    changed = [*flags[:150], flag("flag-150", (one_of("country", "FR"), "on")), *flags[151:]]
    before, after = (Reader(blob(environment(*each))) for each in (flags, changed))
    streams = [
        [each.sections["SOURCE_MAP"][c.offset : c.offset + c.length] for c in each.SOURCE_CHUNKS]
        for each in (before, after)
    ]
    assert len(streams[0]) > 300 // FLAGS_IN_A_CHUNK // 4
    assert sum(a != b for a, b in zip(*streams, strict=True)) == 1
    assert all(key in before.chunk(each.chunk) for key, each in before.flags().items())


def test_the_same_plan_stands_for_the_same_segments() -> None:
    """Pieces are kept by plan, so a plan has to be another one when a segment of its flag is another one."""
    each = flag("f", (ir.SegmentIs("s"), "on"))
    first, second = (environment(each, segments={"s": one_of("plan", plan)}) for plan in ("pro", "team"))
    assert plans(first)[0] is not plans(second)[0]
    assert blob(first) != blob(second)
