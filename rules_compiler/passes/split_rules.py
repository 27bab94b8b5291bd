"""Split each rule's condition into conjunctions: disjunctive normal form.

    rule 0: country in ["DE"] && (beta || flag("gate"))           fallthrough

becomes

    0: country in ["DE"], beta
    0: country in ["DE"], flag("gate")
    1:

At most 64 conjunctions a rule. A condition with more alternatives keeps parts of it whole, each as one literal; but no
part with `flag(…)`, which the engine asks by itself. Literals come cheapest and most selective first, `flag(…)` last.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from rules_compiler import ir
from rules_compiler.diagnostics import Report
from rules_compiler.passes.fold_constants import same
from rules_compiler.passes.inline_segments import references
from rules_compiler.passes.literals import Accepted, grouped, implies, merge_all
from rules_compiler.passes.merge_sets import literal_of
from rules_compiler.passes.quantifiers import replaced

ALTERNATIVES = 64  # conjunctions of one rule
LITERALS = 512  # of one rule, where parts can be kept whole instead
CONJUNCTIONS = 16_000  # of one flag; the engine accepts 32,000

_Alternatives = list[tuple[ir.Literal, ...]]


def split_rules(flag: ir.Flag, conditions: Sequence[ir.Expr], report: Report) -> tuple[ir.Conjunction, ...]:
    """`conditions`: of the flag's rules, as merge_sets leaves them. A rule that never matches has no conjunction."""
    limit = max(1, min(ALTERNATIVES, CONJUNCTIONS // max(1, len(conditions))))
    conjunctions = []
    for index, condition in enumerate(conditions):
        split = split_condition(condition, limit)
        if split is None:
            message = f"the condition has more than {limit} alternatives that ask for other flags"
            hint = "ask for fewer other flags in it, or outside of the `||`; or split the rule into several"
            report.error("B413", f"{flag.rules[index].place}.when", message, hint=hint)
        conjunctions += [ir.Conjunction(index, literals) for literals in split or ()]
    return (*conjunctions, ir.Conjunction(len(conditions), ()))


def split_condition(condition: ir.Expr, limit: int = ALTERNATIVES) -> list[tuple[ir.Literal, ...]] | None:
    """The condition's conjunctions, none of them contained in another; None: more than `limit`."""
    alternatives = _alternatives(condition, limit)
    if alternatives is None:
        alternatives = _by_flags(condition, limit)
    if alternatives is None:
        return None
    conjunctions: list[Grouped] = []
    for literals in alternatives:
        merged = merge_all(map(Accepted, literals))
        if merged is None:
            continue
        new = grouped(merged)
        if not any(contains(other, new) for other in conjunctions):
            conjunctions = [other for other in conjunctions if not contains(new, other)]
            conjunctions.append(new)
    ordered = (sorted(itertools.chain(*each.values()), key=_cost) for each in conjunctions)
    return [tuple([accepted.literal for accepted in each]) for each in ordered]


Grouped = dict[object, list[Accepted]]  # a conjunction: see literals.grouped


def contains(wide: Grouped, narrow: Grouped) -> bool:
    """Whenever all of `narrow` hold, all of `wide` hold."""
    for group, literals in wide.items():
        held = narrow.get(group)
        if held is None or not all(any(implies(has, asked) for has in held) for asked in literals):
            return False
    return True


def _alternatives(expr: ir.Expr, limit: int) -> _Alternatives | None:
    if isinstance(expr, ir.Constant):
        return [()] if expr.value else []
    if isinstance(expr, ir.Or):
        return _any_of(expr, limit)
    if isinstance(expr, ir.And):
        return _all_of(expr, limit)
    return [(literal_of(expr),)]


def _any_of(expr: ir.Or, limit: int) -> _Alternatives | None:
    parts = [(item, _alternatives(item, limit)) for item in expr.items]
    if all(split is not None for _, split in parts) and sum(len(split or ()) for _, split in parts) <= limit:
        return [literals for _, split in parts for literals in split or ()]
    whole = tuple(item for item, _ in parts if not references(item).flags)
    kept: _Alternatives = [_whole(ir.Or(whole) if len(whole) > 1 else whole[0])] if whole else []
    for item, split in parts:
        if references(item).flags:
            if split is None:
                return None
            kept += split
    return kept if len(kept) <= limit else None


def _all_of(expr: ir.And, limit: int) -> _Alternatives | None:
    parts = []
    for item in expr.items:
        split = _alternatives(item, limit)
        if split is None:
            return None
        parts.append((item, split))
    # The part with the most alternatives is kept whole first: that saves the most.
    for i in sorted(range(len(parts)), key=lambda i: -len(parts[i][1])):
        item, split = parts[i]
        too_many = _count(parts) > limit or _literals(parts) > LITERALS
        if too_many and len(split) > 1 and not references(item).flags:
            parts[i] = (item, [_whole(item)])
    if _count(parts) > limit:
        return None
    product: _Alternatives = [()]
    for _, split in parts:
        product = [left + right for left in product for right in split]
    return product


def _by_flags(expr: ir.Expr, limit: int) -> _Alternatives | None:
    """For each choice of what flags say, what else must hold, kept whole: c(F) = c(false) || (F && c(true))."""
    literals = _flag_literals(expr)
    if 1 << len(literals) > limit:
        return None
    pieces: list[tuple[tuple[ir.Literal, ...], ir.Expr]] = [((), expr)]
    for key, literal in sorted(literals.items()):
        without = [(held, replaced(rest, key, ir.Constant(False))) for held, rest in pieces]
        given = [((*held, literal), replaced(rest, key, ir.Constant(True))) for held, rest in pieces]
        pieces = without + given
    return [held + others for held, rest in pieces for others in _alternatives(rest, 1) or ()]


def _flag_literals(expr: ir.Expr) -> dict[bytes, ir.Literal]:
    if isinstance(expr, ir.And | ir.Or):
        found: dict[bytes, ir.Literal] = {}
        for item in expr.items:
            found |= _flag_literals(item)
        return found
    return {same(expr): literal_of(expr)} if references(expr).flags else {}


def _count(parts: list[tuple[ir.Expr, _Alternatives]]) -> int:
    return math.prod(len(split) for _, split in parts)


def _literals(parts: list[tuple[ir.Expr, _Alternatives]]) -> float:
    """In all alternatives together."""
    return _count(parts) * sum(sum(map(len, split)) / max(1, len(split)) for _, split in parts)


def _whole(expr: ir.Expr) -> tuple[ir.Literal, ...]:
    return (literal_of(expr),)


_COSTS: dict[type, int] = {
    ir.In: 0,
    ir.InIds: 1,
    ir.Compare: 2,
    ir.InNetworks: 2,
    ir.Has: 3,
    # From here on a program is run, where those above look up the class of a value.
    ir.Text: 5,
    ir.Contains: 6,
    ir.CompareOperands: 7,
    ir.Quantified: 8,
    ir.And: 9,
    ir.Or: 9,
    ir.FlagIs: 10,
}


def _cost(accepted: Accepted) -> tuple[int, int]:
    """What is asked first: what is cheap, and seldom so. That a value is *not* in a list is no news."""
    atom = accepted.literal.atom
    cost = _COSTS[type(atom)]
    if cost < 4 and not accepted.positive:
        return 4, 0
    if isinstance(atom, ir.In) and type(atom.values[0]) is bool:
        cost = 3
    return cost, len(accepted.points or ())
