"""From a document to a snapshot, or to what is wrong with it. This file lists every step, in order.

    document  --dialect-->  ir.Environment  --passes-->  [ir.Plan, …]  --codegen-->  snapshot

Compiling is incremental: a front end gives the same object for a flag or segment whose text is the same, and what the
passes made of that object is kept. Nothing kept changes an answer: the same document gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from rules_compiler import dialects, ir
from rules_compiler.codegen import generate
from rules_compiler.diagnostics import CompileError, Diagnostic, Report, shown
from rules_compiler.kept import Kept, begin_compilation
from rules_compiler.passes.build_tree import build_tree
from rules_compiler.passes.find_dead_rules import find_dead_rules, find_empty_segment
from rules_compiler.passes.fold_constants import fold_constants
from rules_compiler.passes.inline_segments import inline_segments, measure, references
from rules_compiler.passes.merge_sets import merge_sets
from rules_compiler.passes.order_flags import order_flags
from rules_compiler.passes.push_negations import push_negations
from rules_compiler.passes.scope import Inlined, Scope
from rules_compiler.passes.split_rules import split_rules

ConditionPass = Callable[[ir.Expr, Scope, Report], ir.Expr]

SEGMENT_PASSES: Final[tuple[ConditionPass, ...]] = (
    inline_segments,  # so that those who name the segment need not look further
    fold_constants,  # so that they get it small and flat
)
CONDITION_PASSES: Final[tuple[ConditionPass, ...]] = (
    inline_segments,  # first, so that all others see the whole condition
    fold_constants,  # exact in three-valued logic, so it must come while unknown still counts
    push_negations,  # from here on only holding counts: literals may be moved and merged
    merge_sets,  # before alternatives are multiplied out: `a == 1 || a == 2` is then one literal, not two of them
)
# Then, per flag: split_rules (conjunctions), build_tree (of these), and for lint find_dead_rules (among these).
# Then, for the environment: order_flags.
ATOMS: Final = 1_000_000  # of the segments written into all conditions of an environment
EVERYWHERE: Final = ("B404",)  # a warning about what all environments share: given only where all of them give it


def compile_flags(
    document: bytes | Mapping[str, Any],
    *,
    dialect: str = "burgee",
    environment: str | None = None,
    version: int = 0,
    flag_set_id: str = "",
) -> bytes:
    """The snapshot of one environment (the only one, where `environment` is left out).

    `flag_set_id` goes into the metadata of every answer. Raises CompileError, and nothing else, whatever the input.
    """
    report = Report()
    source: dialects.Source | None = None
    begin_compilation()
    try:
        if not 0 <= version < 2**64:
            report.error("B902", "", f"version {version} is not from 0 to 2^64 - 1")
        source = _read(document, dialect, report)
        lowered = source.environment(environment, report) if source is not None else None
        planned = plan_environment(lowered, report) if lowered is not None else []
        if lowered is not None and not report.has_errors:
            return generate(lowered, [each.plan for each in planned], version=version, flag_set_id=flag_set_id)
    except CompileError as error:
        report.extend(error.diagnostics)
    except Exception as error:
        raise CompileError((*report.diagnostics, _internal(error))) from error
    raise CompileError(_with_lines(report, source))


def lint(document: bytes | Mapping[str, Any], *, dialect: str = "burgee") -> list[Diagnostic]:
    """All there is to say about a document, in every environment: compile_flags without codegen, and with warnings."""
    report = Report()
    try:
        source = _read(document, dialect, report)
        findings = [_findings(source, name) for name in source.environments] if source is not None else []
        for found in findings:
            report.extend(e for e in found if e.code not in EVERYWHERE or all(e in others for others in findings))
        return _with_lines(report, source)
    except Exception as error:
        return [*report.diagnostics, _internal(error)]


def check(
    document: bytes | Mapping[str, Any], *, environment: str, version: int = 0, flag_set_id: str = ""
) -> tuple[bytes | None, list[Diagnostic]]:
    """compile_flags and lint of one environment in one go: no snapshot where there is an error. Raises nothing.

    Warnings about what all environments share are there only where the document has no other one.
    """
    report = Report()
    source: dialects.Source | None = None
    blob: bytes | None = None
    begin_compilation()
    try:
        if not 0 <= version < 2**64:
            report.error("B902", "", f"version {version} is not from 0 to 2^64 - 1")
        source = _read(document, "burgee", report)
        lowered = source.environment(environment, report) if source is not None else None
        if source is not None and lowered is not None:
            everywhere = EVERYWHERE if len(source.environments) > 1 else ()
            planned, found = plan_environment(lowered, report), Report()
            _warn(lowered, planned, found)
            report.extend(each for each in found.diagnostics if each.code not in everywhere)
            if not report.has_errors:
                plans = [each.plan for each in planned]
                blob = generate(lowered, plans, version=version, flag_set_id=flag_set_id)
    except CompileError as error:
        report.extend(error.diagnostics)
    except Exception as error:
        report.add(_internal(error))
    return blob, _with_lines(report, source)


def _findings(source: dialects.Source, environment: str) -> tuple[Diagnostic, ...]:
    found = Report()
    begin_compilation()
    lowered = source.environment(environment, found)
    if lowered is not None:
        _warn(lowered, plan_environment(lowered, found), found)
    return found.diagnostics


def _warn(environment: ir.Environment, planned: list[PlannedFlag], report: Report) -> None:
    segments = inline_all(environment, report)
    for each in planned:
        report.extend(each.warnings())
    for key, segment in environment.segments.items():
        scope, unused = Scope(segments, segment.place), Report()
        condition = segments[key].when
        find_empty_segment(segment, _passed(CONDITION_PASSES[1:], condition, scope, unused), report)


def plan_environment(environment: ir.Environment, report: Report) -> list[PlannedFlag]:
    """In layout order: a flag after those it depends on."""
    segments = inline_all(environment, report)
    planned: dict[str, PlannedFlag] = {}
    atoms = 0
    for flag in environment.flags:
        known = _FLAGS.get(flag)
        if known is None or not known.holds_for(segments):
            known = PlannedFlag(flag, segments)
            _FLAGS.put(known)
        planned[flag.key] = known
        report.extend(known.diagnostics)
        atoms += known.atoms
        if atoms > ATOMS:
            message = f"with segments written in, conditions have more than {ATOMS:,} atoms together"
            report.error("B416", flag.place, message, hint="name large segments in fewer rules, or use `include` lists")
            return []
    order = order_flags({key: each.depends for key, each in planned.items()})
    return [planned[key] for key in order]


class PlannedFlag:
    """What the passes made of one flag, given its segments."""

    __slots__ = ("_warnings", "atoms", "conjunctions", "depends", "diagnostics", "plan", "segments", "source")

    def __init__(self, flag: ir.Flag, segments: Mapping[str, Inlined]) -> None:
        report = Report()
        self.source = flag
        named = references(*(rule.when for rule in flag.rules))
        self.segments = {key: segments[key] for key in sorted(named.segments)}
        self.atoms = sum(segment.atoms for segment in self.segments.values())
        prerequisites = [each.flag for each in flag.prerequisites]
        self.depends = named.flags.union(prerequisites, *(segment.flags for segment in self.segments.values()))
        conditions = [
            _passed(CONDITION_PASSES, rule.when, Scope(segments, f"{rule.place}.when"), report) for rule in flag.rules
        ]
        # A disabled flag goes through the passes all the same, so that enabling it holds no surprise.
        self.conjunctions = split_rules(flag, conditions, report)
        enabled = self.conjunctions if flag.enabled else ()
        self.plan = ir.Plan(flag, enabled, build_tree(enabled))
        self.diagnostics = report.diagnostics
        self._warnings: tuple[Diagnostic, ...] | None = None

    def holds_for(self, segments: Mapping[str, Inlined]) -> bool:
        return all(segments.get(key) is segment for key, segment in self.segments.items())

    def warnings(self) -> tuple[Diagnostic, ...]:
        if self._warnings is None:
            report = Report()
            if not self.diagnostics:
                find_dead_rules(self.source, self.conjunctions, report)
            self._warnings = report.diagnostics
        return self._warnings


class InlinedSegment:
    """A segment with the segments it names written in."""

    __slots__ = ("diagnostics", "inlined", "segments", "source")

    def __init__(self, segment: ir.Segment, segments: Mapping[str, Inlined]) -> None:
        report = Report()
        self.source = segment
        named = references(segment.when)
        self.segments = {key: segments[key] for key in named.segments}
        when = _passed(SEGMENT_PASSES, segment.when, Scope(segments, segment.place), report)
        flags = named.flags.union(*(each.flags for each in self.segments.values()))
        self.inlined = Inlined(when, *measure(when), flags)
        self.diagnostics = report.diagnostics

    def holds_for(self, segments: Mapping[str, Inlined]) -> bool:
        return all(segments.get(key) is segment for key, segment in self.segments.items())


def inline_all(environment: ir.Environment, report: Report) -> dict[str, Inlined]:
    """Each segment after those it names. Raises ValueError if some name each other, which front ends have to refuse."""
    done: dict[str, Inlined] = {}
    opened: set[str] = set()
    for segment in environment.segments.values():
        todo = [segment]
        while todo:
            known = _SEGMENTS.get(todo[-1])
            named = known.segments if known is not None else references(todo[-1].when).segments
            missing = [environment.segments[key] for key in sorted(named) if key not in done]
            if missing:
                if todo[-1].key in opened:
                    raise ValueError("segments name each other, which a front end has to refuse")
                opened.add(todo[-1].key)
                todo += missing
                continue
            top = todo.pop()
            if top.key in done:
                continue
            if known is None or not known.holds_for(done):
                known = InlinedSegment(top, done)
                _SEGMENTS.put(known)
            done[top.key] = known.inlined
            report.extend(known.diagnostics)
    return done


_FLAGS: Final[Kept[PlannedFlag]] = Kept(50_000)
_SEGMENTS: Final[Kept[InlinedSegment]] = Kept(10_000)


def forget_compiled() -> None:
    """Empty what the passes keep: for measuring a cold start."""
    _FLAGS.clear()
    _SEGMENTS.clear()


def _passed(passes: tuple[ConditionPass, ...], condition: ir.Expr, scope: Scope, report: Report) -> ir.Expr:
    for each in passes:
        condition = each(condition, scope, report)
    return condition


def _read(document: bytes | Mapping[str, Any], dialect: str, report: Report) -> dialects.Source | None:
    reader = dialects.READERS.get(dialect)
    if reader is None:
        known = ", ".join(map(shown, dialects.READERS))
        report.error("B901", "", f"unknown dialect {shown(str(dialect))}", hint=f"one of {known}")
        return None
    return reader(document, report)


def _with_lines(report: Report, source: dialects.Source | None) -> list[Diagnostic]:
    """Front ends give the line themselves; passes know only places."""
    lines = [source.line_of(each.place) if source is not None else None for each in report.diagnostics]
    return [
        msgspec.structs.replace(each, document_line=line) if line is not None and each.document_line is None else each
        for each, line in zip(report.diagnostics, lines, strict=True)
    ]


def _internal(error: Exception) -> Diagnostic:
    message = f"internal error: {type(error).__name__}"
    return Diagnostic("B900", "error", "", message, hint="this is a fault of the compiler, please report it")
