"""One flag's raw JSON -> `ir.Flag`, in two steps: its own shape, then what it says of others.

    {"type": "boolean", "variants": {"on": true, "off": false}, "rules": [{"when": "beta", "serve": "on"}]}

becomes

    Flag("cart", "boolean", (Variant("on", …), Variant("off", …)), rules=(Rule("rule-1", "", In(…), "on"),), …)
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from rules_compiler import ir, limits
from rules_compiler.diagnostics import Report, shown
from rules_compiler.dialects.burgee.conditions import lower_condition
from rules_compiler.dialects.burgee.names import check_name, check_names, overridden_place
from rules_compiler.dialects.burgee.scope import Scope, Seen, Signature, like
from rules_compiler.dialects.burgee.serving import lower_serve
from rules_compiler.dialects.burgee.shapes import read_shape
from rules_compiler.dialects.burgee.variants import read_variants
from rules_compiler.document import FlagDocument, PrerequisiteDocument, RuleDocument, ServeDocument


class ShapedFlag(msgspec.Struct, frozen=True):
    """A flag whose own text is right; what it names may not exist."""

    document: FlagDocument
    signature: Signature


def shape_flag(key: str, raw: bytes, report: Report) -> ShapedFlag | None:
    """None when its document is broken. Never raises."""
    place = f"flags.{key}"
    document = read_shape(raw, FlagDocument, place, report)
    if document is None:
        return None
    variants = read_variants(document, place, report)
    return ShapedFlag(document, Signature(document.type, variants))


def lower_flag(key: str, shaped: ShapedFlag, scope: Scope, seen: Seen, report: Report) -> ir.Flag:
    """Of no use where the report has errors. Never raises."""
    place = f"flags.{key}"
    document, variants = shaped.document, shaped.signature.variants
    check_names(document.environments, scope.environments, place, report)
    override = document.environments.get(scope.environment)
    enabled, off_variant = document.enabled, document.off_variant
    prerequisites, rules, fallthrough = document.prerequisites, document.rules, document.fallthrough
    places = {member: f"{place}.{member}" for member in ("offVariant", "prerequisites", "rules", "fallthrough")}
    if override is not None:
        replaced = {member: overridden_place(place, scope.environment, member) for member in places}
        if override.enabled is not UNSET:
            enabled = override.enabled
        if override.off_variant is not UNSET:
            off_variant, places["offVariant"] = override.off_variant, replaced["offVariant"]
        if override.prerequisites is not UNSET:
            prerequisites, places["prerequisites"] = override.prerequisites, replaced["prerequisites"]
        if override.rules is not UNSET:
            rules, places["rules"] = override.rules, replaced["rules"]
        if override.fallthrough is not UNSET:
            fallthrough, places["fallthrough"] = override.fallthrough, replaced["fallthrough"]
    if off_variant is not None and off_variant not in variants:
        message = f"unknown variant {shown(off_variant)}"
        report.error("B301", places["offVariant"], message, hint=like(off_variant, variants))

    def serve(what: ServeDocument, where: str) -> ir.Serve:
        return lower_serve(what, key, variants, where, seen, report)

    return ir.Flag(
        key=key,
        type=document.type,
        variants=tuple(ir.Variant(name, msgspec.Raw(value)) for name, value in variants.items()),
        enabled=enabled,
        off_variant=off_variant,
        prerequisites=_prerequisites(prerequisites, places["prerequisites"], scope, seen, report),
        rules=tuple(
            ir.Rule(
                id=rule_id,
                name=rule.name,
                when=lower_condition(rule.when, f"{where}.when", scope, seen, report),
                serve=serve(rule.serve, f"{where}.serve"),
                text=rule.when,
                place=where,
            )
            for rule, rule_id, where in _numbered(rules, places["rules"], report)
        ),
        fallthrough=serve(fallthrough, places["fallthrough"]),
        client_visible=document.client_visible,
        place=place,
    )


def _numbered(rules: list[RuleDocument], place: str, report: Report) -> list[tuple[RuleDocument, str, str]]:
    """The rules with their ids and places."""
    if len(rules) > limits.RULES:
        message = f"the flag has {len(rules)} rules; at most {limits.RULES}"
        report.error("B505", place, message, hint="use segments, or a list in one rule")
        return []
    numbered = []
    first_of: dict[str, int] = {}
    for index, rule in enumerate(rules):
        where = f"{place}[{index}]"
        rule_id = rule.id if rule.id is not None else f"rule-{index + 1}"
        check_name(rule_id, "a rule", f"{where}.id", report)
        if first_of.setdefault(rule_id, index) != index:
            message = f"the id {shown(rule_id)} is that of rules[{first_of[rule_id]}] already"
            report.error("B114", f"{where}.id", message, hint="ids are unique within a flag")
        numbered.append((rule, rule_id, where))
    return numbered


def _prerequisites(
    prerequisites: list[PrerequisiteDocument], place: str, scope: Scope, seen: Seen, report: Report
) -> tuple[ir.Prerequisite, ...]:
    lowered = []
    for index, each in enumerate(prerequisites):
        where = f"{place}[{index}]"
        if not each.variants:
            hint = "name the variants that meet it"
            report.error("B120", f"{where}.variants", "no variant meets this prerequisite", hint=hint)
        if not seen.flag_exists(each.flag, f"{where}.flag"):
            hint = like(each.flag, scope.flags.keys())
            report.error("B303", f"{where}.flag", f"unknown flag {shown(each.flag)}", hint=hint)
            continue
        signature = seen.signature(each.flag)
        for number, variant in enumerate(each.variants):
            if signature is not None and variant not in signature.variants:
                message = f"flag `{each.flag}` has no variant {shown(variant)}"
                report.error("B301", f"{where}.variants[{number}]", message, hint=like(variant, signature.variants))
        lowered.append(ir.Prerequisite(each.flag, tuple(dict.fromkeys(each.variants))))
    return tuple(lowered)
