"""Programs, as text."""

from __future__ import annotations

import pytest

from rules_compiler import ir
from rules_compiler.codegen.layout import OP_DEPTH
from rules_compiler.codegen.predicates import predicate
from rules_compiler.diagnostics import CompileError
from tests.compiler.codegen.plans import blob, environment, flag, one_of, operand
from tests.compiler.codegen.read_snapshot import Reader

ENDS = ir.Text(operand("email"), "ends_with", "@a.com")
COUNTRY = one_of("country", "DE")


def kinds(condition: ir.Expr) -> list[str]:
    return [op.kind.name for op in predicate(condition, "here").ops]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (ENDS, "ENDS_WITH"),
        (ir.Or((ENDS, ir.Not(COUNTRY))), "ENDS_WITH CLASS_IS NOT OR"),
        (ir.And((ENDS, COUNTRY, ENDS)), "ENDS_WITH CLASS_IS ENDS_WITH AND AND"),
        (ir.Compare(operand("name"), "<", "m"), "ORDER_TEXT"),
        (ir.Contains(operand("tags"), ("a", "b")), "HAS_STRING"),
        (ir.Contains(operand("tags"), (1, 2.5)), "HAS_NUMBER"),
        (ir.Contains(operand("tags"), (True,)), "HAS_BOOLEAN"),
        (ir.CompareOperands(operand("a"), "<", operand("b")), "OPERAND ORDER_OPERANDS"),
        (
            ir.Quantified("all", operand("cart"), ir.And((COUNTRY, ir.Has(operand("sku", scope=1))))),
            "CLASS_IS HAS AND ALL",
        ),
        (ir.Quantified("exists", operand("cart"), ir.In(operand(scope=1), ("a",))), "IN_STRINGS EXISTS"),
        (ir.Quantified("exists", operand("cart"), ir.In(operand(scope=1), (1, 2))), "IN_NUMBERS EXISTS"),
        (ir.Quantified("exists", operand("cart"), ir.In(operand(scope=1), (True,))), "IN_BOOLEANS EXISTS"),
        (
            ir.Quantified("exists", operand("cart"), ir.InNetworks(operand(via=ir.Via.IP, scope=1), ("::/0",))),
            "IN_NETWORKS EXISTS",
        ),
        (
            ir.Quantified("exists", operand("cart"), ir.Compare(operand("v", via=ir.Via.SEMVER, scope=1), "<", "1.2")),
            "ORDER_KEY EXISTS",
        ),
        (ir.Quantified("exists", operand("cart"), ir.Constant(None)), "CONSTANT EXISTS"),
    ],
)
def test_programs(condition: ir.Expr, expected: str) -> None:
    assert kinds(condition) == expected.split()


def test_every_op_has_one_parent() -> None:
    choice = ir.Choice(ENDS, COUNTRY, ir.Not(ENDS))
    for condition in (choice, ir.And((choice, ENDS)), ir.Quantified("exists", operand("x"), choice)):
        ops = predicate(condition, "here").ops
        children: list[int] = []
        for op in ops:
            if op.kind.name in ("AND", "OR"):
                children += (op.a, op.b)
            elif op.kind.name in ("NOT", "EXISTS", "ALL", "ORDER_OPERANDS"):
                children.append(op.a)
        assert sorted(children) == list(range(len(ops) - 1))


def test_many_items_are_not_deep_but_many_levels_are_refused() -> None:
    many = ir.And(tuple(one_of(f"a{i}", "x") for i in range(1000)))
    assert len(predicate(many, "here").ops) == 1999
    deep: ir.Expr = ENDS
    for _ in range(OP_DEPTH // 2):
        deep = ir.Or((ir.And((deep, COUNTRY)), COUNTRY))
    with pytest.raises(CompileError, match=r"flags.f.rules\[0\]: the condition is 49 operators deep, more than 48"):
        predicate(deep, "flags.f.rules[0]")


def test_equal_predicates_of_all_flags_are_one() -> None:
    flags = [flag(f"f{i}", (ENDS, "on"), (ir.Not(ENDS), "off")) for i in range(70)]
    reader = Reader(blob(environment(*flags)))
    (only,) = reader.PREDICATES
    assert (only.op_count, only.true_count, only.false_count) == (1, 4, 4)
    true = reader.PATCHES[only.first_true : only.first_true + only.true_count]
    assert [bin(patch.bits).count("1") for patch in true] == [22, 21, 21, 6]
    assert [test.kind for test in reader.TESTS] == [1, 2]


def test_classes_inside_predicates_have_their_truths() -> None:
    cart = ir.Quantified("exists", operand("cart"), ir.And((COUNTRY, ir.Has(operand(scope=1)))))
    reader = Reader(blob(environment(flag("f", (cart, "on")))))
    (slot,) = reader.SLOTS
    assert slot.word_count == 0
    truths = reader.sections["TRUTHS"]
    contexts: list[tuple[object, int]] = [("DE", 1), ("FR", 0), (None, 2), (5, 2)]
    for value, truth in contexts:
        assert truths[reader.class_of(slot, value, 0)] == truth
    nodes = {reader.path(i): node.keeps_elements for i, node in enumerate(reader.NODES)}
    assert nodes == {(): 0, ("cart",): 1, ("country",): 0}
    assert [reader.path(i) for i in reader.FLAG_NODES] == [("cart",), ("country",)]


def test_regexes_are_numbered_in_order() -> None:
    rules = [(ir.Text(operand("email"), "matches", f"^{i}"), "on") for i in range(3)]
    reader = Reader(blob(environment(flag("f", *rules))))
    assert [op.n for op in reader.OPS] == [0, 1, 2]
    assert [reader.text(op.a, op.b) for op in reader.OPS] == ["^0", "^1", "^2"]
