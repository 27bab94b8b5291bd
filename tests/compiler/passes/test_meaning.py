"""What each pass must keep, on generated conditions: three-valued truth at first, then holding."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rules_compiler import ir
from rules_compiler.diagnostics import Report
from rules_compiler.passes.build_tree import _chain, build_tree
from rules_compiler.passes.find_dead_rules import find_dead_rules
from rules_compiler.passes.fold_constants import fold_constants
from rules_compiler.passes.inline_segments import inline_segments, measure, references
from rules_compiler.passes.literals import Accepted, excludes, implies, merge_all, merge_any
from rules_compiler.passes.merge_sets import merge_sets
from rules_compiler.passes.push_negations import push_negations
from rules_compiler.passes.scope import Inlined, Scope
from rules_compiler.passes.split_rules import split_condition, split_rules
from tests.compiler.passes.conditions import VALUES, atoms, conditions, contexts, environment, flag_of, holds, truth

NOWHERE = Scope({}, "flags.it.rules[0].when")
_quantified = st.builds(ir.Quantified, st.just("exists"), st.just(ir.Operand(("x",))), atoms(1))
literals = st.builds(ir.Literal, st.one_of(atoms(), _quantified), st.booleans())


@given(conditions(segments=("s",)), conditions(leaves=4), contexts)
def test_a_segment_means_its_condition(condition: ir.Expr, segment: ir.Expr, context: dict[str, Any]) -> None:
    report = Report()
    scope = Scope({"s": Inlined(segment, *measure(segment), frozenset())}, "")
    inlined = inline_segments(condition, scope, report)
    assert references(inlined).segments == frozenset()
    assert truth(inlined, context) is truth(condition, context, environment(s=segment))
    merged = merge_sets(push_negations(inlined, scope, report), scope, report)
    if not report.has_errors:
        assert _is_normal(merged) and _quantifiers(merged) <= 2
        assert (truth(merged, context) is True) is (truth(inlined, context) is True)


@given(conditions(), contexts)
def test_folding_keeps_truth(condition: ir.Expr, context: dict[str, Any]) -> None:
    assert truth(fold_constants(condition, NOWHERE, Report()), context) is truth(condition, context)


@given(conditions(), contexts)
def test_normal_form_keeps_holding(condition: ir.Expr, context: dict[str, Any]) -> None:
    report = Report()
    normal = push_negations(condition, NOWHERE, report)
    if not report.has_errors:
        assert _is_normal(normal)
        assert (truth(normal, context) is True) is (truth(condition, context) is True)


@given(conditions(), contexts)
def test_merging_keeps_holding(condition: ir.Expr, context: dict[str, Any]) -> None:
    normal = push_negations(condition, NOWHERE, Report())
    merged = merge_sets(normal, NOWHERE, Report())
    assert _is_normal(merged)
    assert (truth(merged, context) is True) is (truth(normal, context) is True)


@given(conditions(), st.sampled_from([1, 3, 64]), contexts)
def test_conjunctions_keep_holding(condition: ir.Expr, limit: int, context: dict[str, Any]) -> None:
    merged = merge_sets(push_negations(condition, NOWHERE, Report()), NOWHERE, Report())
    split = split_condition(merged, limit)
    if split is None:
        assert references(merged).flags, "only `flag(…)` may not be kept whole"
        return
    assert len(split) <= limit
    assert any(all(holds(each, context) for each in conjunction) for conjunction in split) is (
        truth(merged, context) is True
    )
    for literal in (each for conjunction in split for each in conjunction):
        assert type(literal.atom) is ir.FlagIs or not references(literal.atom).flags


@given(st.lists(literals, min_size=1, max_size=5), contexts)
def test_merged_literals_hold_as_all_or_any_did(items: list[ir.Literal], context: dict[str, Any]) -> None:
    held = [holds(each, context) for each in items]
    both = merge_all(map(Accepted, items))
    assert (both is not None and all(holds(each.literal, context) for each in both)) is all(held)
    assert any(holds(each.literal, context) for each in merge_any(map(Accepted, items))) is any(held)


@given(literals, literals)
def test_what_literals_say_of_each_other_is_true(one: ir.Literal, two: ir.Literal) -> None:
    a, b = Accepted(one), Accepted(two)
    assert implies(a, a) and excludes(a, Accepted(ir.Literal(one.atom, not one.positive)))
    if implies(a, b) or excludes(a, b):
        for context in ({"x": x, "y": y} for x in VALUES for y in VALUES):
            if holds(one, context):
                assert holds(two, context) is implies(a, b)


@given(st.lists(conditions(leaves=5), max_size=4), contexts)
def test_the_tree_finds_the_first_conjunction_that_holds(rules: list[ir.Expr], context: dict[str, Any]) -> None:
    conjunctions = _conjunctions(flag_of(*rules))
    first = next(c for c, each in enumerate(conjunctions) if all(holds(literal, context) for literal in each.literals))
    rows = [list(range(len(each.literals))) for each in conjunctions]
    rows = rows[: 1 + next(c for c, row in enumerate(rows) if not row)]
    for tree in (build_tree(conjunctions), _chain(rows)):
        assert _walk(tree, conjunctions, context) == first
        assert all(child < 0 or child > i for i, node in enumerate(tree) for child in (node.yes, node.no))
        assert len(tree) <= 4 * sum(map(len, rows)) + 32
    assert first < len(rows)


@given(st.lists(conditions(leaves=4), min_size=1, max_size=4), contexts)
def test_a_rule_that_is_reported_dead_never_serves(rules: list[ir.Expr], context: dict[str, Any]) -> None:
    report = Report()
    flag = flag_of(*rules)
    find_dead_rules(flag, _conjunctions(flag), report)
    dead = {each.place for each in report.diagnostics}
    serving = next((i for i, rule in enumerate(rules) if truth(rule, context) is True), None)
    assert serving is None or f"flags.it.rules[{serving}].when" not in dead
    if serving is not None:
        assert "flags.it.variants.on" not in dead


def _conjunctions(flag: ir.Flag) -> tuple[ir.Conjunction, ...]:
    report = Report()
    merged = [merge_sets(push_negations(rule.when, NOWHERE, report), NOWHERE, report) for rule in flag.rules]
    return split_rules(flag, merged, report)


def _walk(tree: tuple[ir.TreeNode, ...], conjunctions: tuple[ir.Conjunction, ...], context: dict[str, Any]) -> int:
    at = 0 if tree else ~0
    while at >= 0:
        node = tree[at]
        at = node.yes if holds(conjunctions[node.conjunction].literals[node.literal], context) else node.no
    return ~at


def _quantifiers(expr: ir.Expr) -> int:
    """How deep they nest."""
    if isinstance(expr, ir.And | ir.Or):
        return max(map(_quantifiers, expr.items))
    return 1 + _quantifiers(expr.body) if isinstance(expr, ir.Quantified) else 0


def _is_normal(expr: ir.Expr) -> bool:
    if isinstance(expr, ir.And | ir.Or):
        return all(map(_is_normal, expr.items))
    if isinstance(expr, ir.Not):
        return not isinstance(expr.item, ir.And | ir.Or | ir.Not | ir.Constant | ir.Choice | ir.Quantified)
    if isinstance(expr, ir.Quantified):
        return _is_normal(expr.body) and not references(expr.body).flags
    return not isinstance(expr, ir.Choice | ir.SegmentIs) and expr != ir.Constant(None)
