import pytest

from rules_compiler import ir
from rules_compiler.diagnostics import Report
from rules_compiler.passes.build_tree import build_tree
from tests.compiler.golden_files import Golden, golden
from tests.compiler.passes.flags import conjunctions_of
from tests.compiler.passes.notation import shown_literals


@pytest.mark.parametrize("case", golden("build_tree"), ids=lambda case: case.name)
def test_golden(case: Golden, update_golden: bool) -> None:
    _, conjunctions = conjunctions_of(case.given, Report())
    lines = []
    for i, node in enumerate(build_tree(conjunctions)):
        literal = conjunctions[node.conjunction].literals[node.literal]
        lines.append(f"{i}: {shown_literals([literal])} ? {_child(node.yes)} : {_child(node.no)}")
    case.check("\n".join(lines) or "nothing to ask", update_golden)


def _child(child: int) -> str:
    return f"serve {~child}" if child < 0 else str(child)


def test_what_would_grow_too_large_is_a_chain() -> None:
    """Each of 14 attributes is asked twice, so a graph of states would remember the answers of the first time."""
    first = [ir.Conjunction(i, (_is(f"a{i}"), _is(f"b{i}"))) for i in range(14)]
    second = [ir.Conjunction(14 + i, (_is(f"a{i}"), _is(f"c{i}"))) for i in range(14)]
    tree = build_tree([*first, *second, ir.Conjunction(28, ())])
    assert len(tree) == 56
    assert [(node.conjunction, node.literal) for node in tree] == [(c, i) for c in range(28) for i in range(2)]


def _is(name: str) -> ir.Literal:
    return ir.Literal(ir.In(ir.Operand((name,)), (True,)))


def test_nothing_is_asked_twice_and_a_large_flag_takes_no_recursion() -> None:
    rules = [ir.Conjunction(i, (ir.Literal(ir.In(ir.Operand(("a",)), (i,))), _is("b"))) for i in range(3_000)]
    tree = build_tree([*rules, ir.Conjunction(3_000, ())])
    assert len(tree) == 6_000
