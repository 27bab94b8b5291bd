"""Small environments and their plans, for the tests of codegen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from rules_compiler import ir
from rules_compiler.codegen import generate
from rules_compiler.diagnostics import Report
from rules_compiler.pipeline import plan_environment


def operand(*path: str, via: ir.Via = ir.Via.VALUE, scope: int = 0) -> ir.Operand:
    return ir.Operand(path, via, scope)


def one_of(attribute: str, *values: Any, via: ir.Via = ir.Via.VALUE) -> ir.In:
    return ir.In(operand(attribute, via=via), tuple(sorted(values)))


def split(salt: str, *ends: tuple[int, str], by: tuple[str, ...] = ("targetingKey",)) -> ir.Split:
    starts = [0, *(end for end, _ in ends)]
    return ir.Split(by, salt, tuple(ir.Range(a, b, v) for a, (b, v) in zip(starts, ends, strict=False)))


def flag(
    key: str,
    *rules: tuple[ir.Expr, ir.Serve],
    fallthrough: ir.Serve = "off",
    enabled: bool = True,
    off_variant: str | None = "off",
    prerequisites: Sequence[tuple[str, str]] = (),
    variants: Mapping[str, str] | None = None,
    client_visible: bool = False,
) -> ir.Flag:
    place = f"flags.{key}"
    values = variants or {"on": "true", "off": "false"}
    return ir.Flag(
        key=key,
        type="boolean" if variants is None else "string",
        variants=tuple(ir.Variant(name, msgspec.Raw(value.encode())) for name, value in values.items()),
        enabled=enabled,
        off_variant=off_variant,
        prerequisites=tuple(ir.Prerequisite(other, (variant,)) for other, variant in prerequisites),
        rules=tuple(
            ir.Rule(f"rule-{i + 1}", "", when, serve, "", f"{place}.rules[{i}]")
            for i, (when, serve) in enumerate(rules)
        ),
        fallthrough=fallthrough,
        client_visible=client_visible,
        place=place,
    )


def environment(
    *flags: ir.Flag, segments: Mapping[str, ir.Expr] | None = None, ids: Mapping[str, Sequence[str]] | None = None
) -> ir.Environment:
    return ir.Environment(
        name="production",
        flags=tuple(sorted(flags, key=lambda each: each.key)),
        segments={key: ir.Segment(key, when, "", f"segments.{key}") for key, when in (segments or {}).items()},
        ids={name: tuple(sorted(texts)) for name, texts in (ids or {}).items()},
    )


def plans(of: ir.Environment) -> list[ir.Plan]:
    report = Report()
    planned = [each.plan for each in plan_environment(of, report)]
    assert not report.has_errors, report.diagnostics
    return planned


def blob(of: ir.Environment, version: int = 1, flag_set_id: str = "") -> bytes:
    return generate(of, plans(of), version=version, flag_set_id=flag_set_id)
