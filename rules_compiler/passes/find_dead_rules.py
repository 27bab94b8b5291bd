"""Find what can never be served: rules, variants, segments. Warnings only; nothing is rewritten.

    rules: [country in ["DE", "FR"], country == "DE" && beta]

gives

    flags.checkout.rules[1].when: never reached: rule `rule-1` matches whenever this one does
        (hint: move this rule before `rule-1`, or delete it) [B402]

INVARIANT: no false alarm. A rule is reported only when no context whatever could reach it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rules_compiler import ir
from rules_compiler.diagnostics import Report, shown
from rules_compiler.passes.literals import Accepted, grouped
from rules_compiler.passes.split_rules import Grouped, contains, split_condition

PAIRS = 200_000  # conjunctions compared with earlier ones of their flag


def find_dead_rules(flag: ir.Flag, conjunctions: Sequence[ir.Conjunction], report: Report) -> None:
    """`conjunctions`: of the flag, the fallthrough's last, as split_rules leaves them."""
    by_rule: list[list[Grouped]] = [[] for _ in range(len(flag.rules) + 1)]
    for conjunction in conjunctions:
        by_rule[conjunction.rule].append(grouped(map(Accepted, conjunction.literals)))
    earlier: list[tuple[int, Grouped]] = []
    served: set[str] = {flag.off_variant} if flag.off_variant is not None else set()
    pairs = 0
    always: int | None = None
    for i, rule in enumerate(flag.rules):
        place = f"{rule.place}.when"
        alternatives = by_rule[i]
        if always is not None:
            by = shown(flag.rules[always].id)
            hint = f"delete this rule, or narrow {by}"
            report.warning("B401", place, f"never reached: rule {by} before it always matches", hint=hint)
            continue
        if not alternatives:
            report.warning("B403", place, "never true, whatever the context", hint=_contradiction_hint(rule))
            continue
        shadows = []
        for alternative in alternatives:
            pairs += len(earlier)
            shadow = None
            if pairs <= PAIRS:
                shadow = next((j for j, before in earlier if contains(before, alternative)), None)
            shadows.append(shadow)
        earlier += [(i, alternative) for alternative in alternatives]
        if None not in shadows:
            names = [shown(flag.rules[j].id) for j in sorted({j for j in shadows if j is not None})]
            by = ("rule " if len(names) == 1 else "rules ") + ", ".join(names)
            verb = "matches" if len(names) == 1 else "match"
            hint = f"move this rule before {names[0]}, or delete it"
            report.warning("B402", place, f"never reached: {by} {verb} whenever this one does", hint=hint)
            continue
        served |= _variants(rule.serve)
        if {} in alternatives:
            always = i
    if always is None:
        served |= _variants(flag.fallthrough)
    for variant in flag.variants:
        if variant.name not in served:
            hint = "serve it by a rule, a split with a weight above 0, the fallthrough or the off variant; or delete it"
            report.warning("B404", f"{flag.place}.variants.{variant.name}", "never served", hint=hint)


def find_empty_segment(segment: ir.Segment, condition: ir.Expr, report: Report) -> None:
    """`condition`: the segment's, normalised as a rule's is."""
    if split_condition(condition) == []:
        hint = "give it an `include` list or another `when`; or delete it"
        report.warning("B405", segment.place, f"nobody is ever in segment {shown(segment.key)}", hint=hint)


def _variants(serve: ir.Serve) -> set[str]:
    if isinstance(serve, ir.Split):
        return {each.variant for each in serve.ranges}
    return set() if serve is None else {serve}


def _contradiction_hint(rule: ir.Rule) -> str:
    if rule.text.strip() == "false":
        return "delete the rule"
    return "its parts contradict each other, or it names an empty segment"
