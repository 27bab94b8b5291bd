"""What a rule or a fallthrough serves: a variant, or a split whose weights become ranges of buckets.

    {"split": [{"variant": "new", "weight": 12.5}, {"variant": "old", "weight": 87.5}]}

becomes

    Split(("targetingKey",), "checkout", (Range(0, 12500, "new"), Range(12500, 100000, "old")))
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Final

from rules_compiler import ir
from rules_compiler.diagnostics import Report, shown
from rules_compiler.dialects.burgee.names import path_of
from rules_compiler.dialects.burgee.scope import Seen, like
from rules_compiler.document import ServeDocument, SplitDocument

_PER_PERCENT: Final = ir.BUCKETS // 100


def lower_serve(
    document: ServeDocument, flag_key: str, variants: Collection[str], place: str, seen: Seen, report: Report
) -> ir.Serve:
    """Of no use where the report has errors of this place."""
    if document is None:
        return None
    if isinstance(document, str):
        _check_variant(document, variants, place, report)
        return document
    by = path_of(document.by, f"{place}.by", report)
    seen.attributes.add(by)
    salt = flag_key if document.salt is None else document.salt
    return ir.Split(by, salt, _ranges(document, variants, f"{place}.split", report))


def _ranges(document: SplitDocument, variants: Collection[str], place: str, report: Report) -> tuple[ir.Range, ...]:
    if not document.split:
        report.error("B113", place, "a split has at least one variant", hint="weights are percentages and sum to 100")
        return ()
    ranges: list[ir.Range] = []
    served: set[str] = set()
    total = Decimal(0)
    start = 0
    for index, each in enumerate(document.split):
        _check_variant(each.variant, variants, f"{place}[{index}].variant", report)
        if each.variant in served:
            message = f"the variant {shown(each.variant)} is in the split twice"
            report.error("B119", f"{place}[{index}].variant", message, hint="add its weights together")
        served.add(each.variant)
        weight = Decimal(repr(each.weight))  # the shortest text that is this float: what was written
        total += weight
        buckets = weight * _PER_PERCENT
        if not 0 <= weight <= 100 or buckets != buckets.to_integral_value():
            message = f"the weight `{each.weight}` is not a percentage with at most three decimals"
            report.error("B113", f"{place}[{index}].weight", message, hint="from 0 to 100, as 12.5")
            continue
        if buckets:
            ranges.append(ir.Range(start, start + int(buckets), each.variant))
        start += int(buckets)
    if total != 100:
        report.error("B113", place, f"the weights sum to {_plain(total)}, not to 100", hint="weights are percentages")
    return tuple(ranges)


def _check_variant(name: str, variants: Collection[str], place: str, report: Report) -> None:
    if name not in variants:
        report.error("B301", place, f"unknown variant {shown(name)}", hint=like(name, variants))


def _plain(number: Decimal) -> str:
    text = f"{number.normalize():f}"
    return text if len(text) <= 20 else f"{number:.3E}"
