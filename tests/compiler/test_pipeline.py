"""Document in, snapshot or diagnostics out: what compile_flags and lint promise as a whole."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rules_compiler
from engine import Snapshot
from rules_compiler import CompileError, Diagnostic, compile_flags, ir, lint, pipeline
from rules_compiler.diagnostics import Report
from rules_compiler.passes.split_rules import split_rules
from tests.documents import World
from tests.strategies import worlds

PROJECT = textwrap.dedent(
    """
    environments: [staging, production]
    segments:
      beta: {include: [u-1], when: 'plan == "beta"'}
      inner: {when: 'segment("beta") && country == "DE"'}
    flags:
      waits:
        type: string
        variants: {old: o, new: n}
        offVariant: old
        prerequisites: [{flag: zeta, variants: ["on"]}]
        rules: [{when: 'segment("inner")', serve: new}]
        fallthrough: old
      zeta:
        type: boolean
        variants: {"on": true, "off": false}
        offVariant: "off"
        fallthrough: "on"
    """
).encode()


def test_the_public_names() -> None:
    assert rules_compiler.__all__ == ["CompileError", "Diagnostic", "compile_flags", "lint"]


def test_a_document_becomes_a_snapshot() -> None:
    blob = compile_flags(PROJECT, environment="staging", version=7, flag_set_id="t/p/staging")
    snapshot = Snapshot.from_bytes(blob)
    assert (snapshot.version, snapshot.flag_set_id, snapshot.environment) == (7, "t/p/staging", "staging")
    assert snapshot.evaluate("waits", {"targetingKey": "u-1", "country": "DE"}).variant == "new"
    assert snapshot.evaluate("waits", {"targetingKey": "u-2", "country": "DE"}).variant == "old"


@given(worlds())
def test_the_same_document_gives_the_same_bytes_and_findings_whatever_is_kept(world: World) -> None:
    environment = world.document.get("environments", ["default"])[-1]

    def outcome() -> tuple[bytes, list[Diagnostic]]:
        return compile_flags(world.document, environment=environment, version=1), lint(world.document)

    first = outcome()
    assert outcome() == first
    pipeline.forget_compiled()
    assert outcome() == first


def test_a_changed_segment_reaches_the_flags_that_name_it_through_another() -> None:
    before = Snapshot.from_bytes(compile_flags(PROJECT, environment="staging"))
    changed = PROJECT.replace(b'plan == "beta"', b'plan == "gold"')
    after = Snapshot.from_bytes(compile_flags(changed, environment="staging"))
    context = {"plan": "gold", "country": "DE"}
    assert (before.evaluate("waits", context).variant, after.evaluate("waits", context).variant) == ("old", "new")


def test_only_what_changed_goes_through_the_passes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def watched(flag: ir.Flag, conditions: Sequence[ir.Expr], report: Report) -> tuple[ir.Conjunction, ...]:
        seen.append(flag.key)
        return split_rules(flag, conditions, report)

    monkeypatch.setattr(pipeline, "split_rules", watched)
    pipeline.forget_compiled()
    compile_flags(PROJECT, environment="staging")
    assert sorted(seen) == ["waits", "zeta"]
    compile_flags(PROJECT.replace(b"new: n}", b"new: m}"), environment="staging")
    assert seen[2:] == ["waits"]


def test_warnings_do_not_fail_and_lint_gives_them() -> None:
    document = PROJECT.replace(b"'segment(\"inner\")'", b"'a == 1 && a == 2'")
    compile_flags(document, environment="staging")
    assert [(each.code, each.severity, each.place, each.document_line) for each in lint(document)] == [
        ("B403", "warning", "flags.waits.rules[0].when", 12),
        ("B404", "warning", "flags.waits.variants.new", 9),
    ]


def test_a_variant_is_dead_only_if_it_is_in_every_environment() -> None:
    flag = {"type": "boolean", "variants": {"on": True, "off": False}, "offVariant": "off", "fallthrough": "off"}
    overrides = {"production": {"fallthrough": "on"}}
    document = {"environments": ["staging", "production"], "flags": {"f": {**flag, "environments": overrides}}}
    assert lint(document) == []
    assert [each.code for each in lint({**document, "flags": {"f": flag}})] == ["B404"]


def test_one_finding_of_two_environments_is_given_once() -> None:
    segment: dict[str, Any] = {"segments": {"nobody": {}}, "flags": {}}
    assert [each.code for each in lint({**segment, "environments": ["a", "b"]})] == ["B405"]


def test_errors_come_with_warnings_of_the_front_end_and_of_passes() -> None:
    tests = " && ".join(f'(a{i} && flag("g{i}") || b{i})' for i in range(7))
    others = "".join(f'  g{i}: {{type: boolean, variants: {{"on": true}}, offVariant: "on"}}\n' for i in range(7))
    document = PROJECT.replace(b"'segment(\"inner\")'", f"'{tests}'".encode()) + others.encode()
    with pytest.raises(CompileError) as refused:
        compile_flags(document, environment="staging")
    assert [(each.code, each.place, each.document_line) for each in refused.value.diagnostics] == [
        ("B413", "flags.waits.rules[0].when", 12)
    ]
    assert "B403" not in {each.code for each in lint(document)}, "what does not compile is not also called dead"


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just("flags"), st.binary(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.one_of(st.sampled_from(["flags", "segments", "a"]), st.text()), inner)
    ),
    max_leaves=20,
)


@given(st.one_of(st.binary(), _json))
def test_nothing_but_a_compile_error_comes_out(document: Any) -> None:
    try:
        blob = compile_flags(document)
    except CompileError as error:
        assert any(each.severity == "error" for each in error.diagnostics)
        assert "B900" not in {each.code for each in error.diagnostics}
        assert [each for each in lint(document) if each.severity == "error"]
    else:
        Snapshot.from_bytes(blob)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"dialect": "flogd"}, "B901"),
        ({"version": -1}, "B902"),
        ({"version": 2**64}, "B902"),
        ({"environment": "nowhere"}, "B116"),
        ({"environment": None}, "B117"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], code: str) -> None:
    with pytest.raises(CompileError) as refused:
        compile_flags(PROJECT, **{"environment": "staging", **options})
    assert [each.code for each in refused.value.diagnostics] == [code]


def test_a_fault_of_the_compiler_is_a_diagnostic_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, "generate", broken)
    with pytest.raises(CompileError, match="ZeroDivisionError") as refused:
        compile_flags(PROJECT, environment="staging")
    assert [each.code for each in refused.value.diagnostics] == ["B900"]
    monkeypatch.setattr(pipeline, "split_rules", broken)
    pipeline.forget_compiled()
    assert [each.code for each in lint(PROJECT)] == ["B900"]


def _deep(levels: int) -> dict[str, Any]:
    """Segments inside each other, each with a `?:` in the test of another."""
    segments = {
        f"s{i}": {"when": f'segment("s{i - 1}") ? (a{i} ? b : c) : (d ? segment("s{i - 1}") : e)'}
        for i in range(1, levels)
    }
    flag = {"type": "boolean", "variants": {"on": True}, "fallthrough": "on"}
    rules = [{"when": f'segment("s{levels - 1}")', "serve": "on"}]
    return {"segments": {"s0": {"when": "x"}, **segments}, "flags": {"f": {**flag, "rules": rules}}}


def test_conditions_that_grow_are_refused_by_name() -> None:
    assert {each.code for each in lint(_deep(3)) if each.severity == "error"} == set()
    assert {each.code for each in lint(_deep(14)) if each.severity == "error"} == {"B410"}


def test_an_environment_that_grows_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "ATOMS", 1)
    with pytest.raises(CompileError) as refused:
        compile_flags(PROJECT, environment="staging")
    assert [each.code for each in refused.value.diagnostics] == ["B416"]


def test_segments_or_flags_that_name_each_other_do_not_hang() -> None:
    """Front ends refuse them; should one not, the compiler says that it is broken."""
    loop = {key: ir.Segment(key, ir.SegmentIs(other), "", f"segments.{key}") for key, other in ("ab", "ba")}
    with pytest.raises(ValueError, match="name each other"):
        pipeline.inline_all(ir.Environment("e", (), loop, {}), Report())


def test_many_rules_share_the_bits_of_one_flag() -> None:
    words = random.Random(1)
    rules = [{"when": " || ".join(f"a{words.randrange(99)}" for _ in range(40)), "serve": "on"} for _ in range(500)]
    flag = {"type": "boolean", "variants": {"on": True, "off": False}, "rules": rules, "fallthrough": "off"}
    snapshot = Snapshot.from_bytes(compile_flags({"flags": {"f": flag}}))
    assert snapshot.evaluate("f", {"a7": True}).variant == "on"
    assert snapshot.evaluate("f", {}).variant == "off"
