"""One segment's raw JSON -> `ir.Segment` and its id lists.

    {"include": ["u-2", "u-1"], "when": "plan == \\"beta\\""}

becomes

    Segment("beta", Or((InIds(targetingKey, "beta/include"), In(plan, ("beta",)))), …) and {"beta/include": (…)}

True when the id is included; else false when it is excluded; else what `when` says.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from rules_compiler import ir, limits
from rules_compiler.diagnostics import Report
from rules_compiler.dialects.burgee.conditions import lower_condition
from rules_compiler.dialects.burgee.names import check_names, overridden_place, path_of
from rules_compiler.dialects.burgee.scope import Scope, Seen
from rules_compiler.dialects.burgee.shapes import read_shape
from rules_compiler.document import SegmentDocument


class LoweredSegment(msgspec.Struct, frozen=True):
    segment: ir.Segment
    ids: dict[str, tuple[str, ...]]


def lower_segment(key: str, raw: bytes, scope: Scope, seen: Seen, report: Report) -> LoweredSegment | None:
    """None when it does not have the shape of a segment. Never raises."""
    place = f"segments.{key}"
    document = read_shape(raw, SegmentDocument, place, report)
    if document is None:
        return None
    check_names(document.environments, scope.environments, place, report)
    override = document.environments.get(scope.environment)
    include, exclude, text = document.include, document.exclude, document.when
    when_place = f"{place}.when"
    if override is not None:
        include = include if override.include is UNSET else override.include
        exclude = exclude if override.exclude is UNSET else override.exclude
        if override.when is not UNSET:
            text, when_place = override.when, overridden_place(place, scope.environment, "when")
    if len(include) + len(exclude) > limits.IDS:
        number = len(include) + len(exclude)
        report.error("B507", place, f"the segment has {number} ids; at most {limits.IDS}", hint="use a condition")
    by = ir.Operand(path_of(document.by, f"{place}.by", report))
    when: ir.Expr = ir.Constant(False)
    if text is not None:
        when = lower_condition(text, when_place, scope, seen, report)
    ids: dict[str, tuple[str, ...]] = {}
    if exclude and when != ir.Constant(False):
        ids[f"{key}/exclude"] = tuple(sorted(set(exclude)))
        when = ir.And((ir.Not(ir.InIds(by, f"{key}/exclude")), when))
    if include:
        ids[f"{key}/include"] = tuple(sorted(set(include)))
        included = ir.InIds(by, f"{key}/include")
        when = included if when == ir.Constant(False) else ir.Or((included, when))
    if ids:
        seen.attributes.add(by.path)
    return LoweredSegment(ir.Segment(key, when, text or "", place), ids)
