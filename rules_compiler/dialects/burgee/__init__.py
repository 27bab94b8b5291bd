"""Burgee's own flag documents (docs/flag-documents.md): a document -> the `ir.Environment` of one environment.

    flags: {beta: {type: boolean, variants: {"on": true}, fallthrough: "on"}}

becomes

    Environment("default", (Flag("beta", "boolean", (Variant("on", true),), …),), segments={}, ids={})

Compiling is incremental: a flag whose text is the same as before, and for which the segments and the flags it names are
the same to it, is taken from a cache (by content, for the whole process) and never parsed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from rules_compiler import ir, limits
from rules_compiler.diagnostics import Diagnostic, Report, shown
from rules_compiler.dialects.burgee import cel
from rules_compiler.dialects.burgee.flags import ShapedFlag, lower_flag, shape_flag
from rules_compiler.dialects.burgee.names import check_name
from rules_compiler.dialects.burgee.references import Reference, check_references
from rules_compiler.dialects.burgee.scope import Scope, Seen, Signature
from rules_compiler.dialects.burgee.segments import LoweredSegment, lower_segment
from rules_compiler.dialects.burgee.shapes import read_shape
from rules_compiler.kept import Generations
from rules_compiler.reading import Pieces, read

DEFAULT = ("default",)  # the environments of a document that lists none


class _Kept(msgspec.Struct, frozen=True):
    """A flag or a segment as it was lowered, and what that rests on."""

    lowered: ir.Flag | LoweredSegment
    warnings: tuple[Diagnostic, ...]
    segments: frozenset[str]
    flags: tuple[tuple[str, Signature | None], ...]
    names: dict[Reference, str]  # what it refers to -> where
    attributes: frozenset[tuple[str, ...]]

    def holds_in(self, scope: Scope) -> bool:
        if not self.segments <= scope.segments:
            return False
        return not self.flags or all(name in scope.flags and scope.flags[name] == then for name, then in self.flags)


_Identity = tuple[bytes, str, str, str, tuple[str, ...]]  # digest, kind, key, environment, environments

_TEXT: Final = 16 * 1024 * 1024  # bytes of document; what is kept for it takes about ten times that
_SHAPED: Generations[tuple[bytes, str], ShapedFlag] = Generations(_TEXT)  # by the digest of the text, and the key
_LOWERED: Generations[_Identity, _Kept] = Generations(_TEXT)


def forget_compiled() -> None:
    """Empty the caches: for measuring a cold start."""
    _SHAPED.clear()
    _LOWERED.clear()
    cel.parse.cache_clear()


def lower(document: bytes | Mapping[str, Any], environment: str | None, report: Report) -> ir.Environment | None:
    """None when the report has errors. Whatever the document is, this raises nothing."""
    source = read_source(document, report)
    return source.environment(environment, report) if source is not None else None


def read_source(document: bytes | Mapping[str, Any], report: Report) -> Source | None:
    """None when the document cannot be taken apart at all. Raises nothing, whatever the document is."""
    pieces = read(document, report)
    if pieces is None:
        return None
    found = Report()
    environments = _environments(pieces, found)
    few_enough = _check_numbers(pieces, environments, found)
    _add_lines(found, pieces, report)
    return Source(pieces, environments) if few_enough else None


class Source:
    """A document, taken apart."""

    def __init__(self, pieces: Pieces, environments: tuple[str, ...]) -> None:
        self._pieces = pieces
        self.environments = environments

    def environment(self, name: str | None, report: Report) -> ir.Environment | None:
        """None when the report has errors. The name may be left out where there is one environment. Raises nothing."""
        found = Report()
        chosen = _chosen(name, self.environments, found)
        lowered = _lower_pieces(self._pieces, self.environments, chosen, found)
        _add_lines(found, self._pieces, report)
        return None if report.has_errors else lowered

    def line_of(self, place: str) -> int | None:
        """The line of a place in a YAML document, counted from 1."""
        return self._pieces.line_of(place)


def _add_lines(found: Report, pieces: Pieces, report: Report) -> None:
    for diagnostic in found.diagnostics:
        line = pieces.line_of(diagnostic.place)
        report.add(msgspec.structs.replace(diagnostic, document_line=line) if line else diagnostic)


def _environments(pieces: Pieces, report: Report) -> tuple[str, ...]:
    """Where the list is broken, what is right in it; so that there is something to look at the flags for."""
    if pieces.environments is None:
        return DEFAULT
    names = read_shape(pieces.environments, list[str], "environments", report)
    if names is None:
        return DEFAULT
    if not names:
        report.error("B116", "environments", "the list is empty", hint="leave it out for one environment, `default`")
    for index, name in enumerate(names):
        check_name(name, "an environment", f"environments[{index}]", report)
        if name in names[:index]:
            report.error("B118", f"environments[{index}]", f"{shown(name)} is listed twice", hint="once is enough")
    return tuple(dict.fromkeys(names)) or DEFAULT


def _check_numbers(pieces: Pieces, environments: tuple[str, ...], report: Report) -> bool:
    few_enough = True
    for number, most, code, what in (
        (len(pieces.flags), limits.FLAGS, "B502", "flags"),
        (len(pieces.segments), limits.SEGMENTS, "B503", "segments"),
        (len(environments), limits.ENVIRONMENTS, "B518", "environments"),
    ):
        if number > most:
            report.error(code, what, f"the document has {number} {what}; at most {most}", hint="make it two projects")
            few_enough = False
    return few_enough


def _chosen(name: str | None, environments: tuple[str, ...], report: Report) -> str:
    """The environment to compile, or one to go on with after an error, for what else there is to say."""
    if name in environments:
        return name
    listed = ", ".join(shown(each) for each in environments[:20])
    if name is not None:
        message = f"unknown environment {shown(str(name))}"
        report.error("B116", "environments", message, hint=f"the document has {listed}")
    elif len(environments) > 1:
        report.error("B117", "environments", "the document has several environments", hint=f"name one of {listed}")
    return environments[0]


def _lower_pieces(pieces: Pieces, environments: tuple[str, ...], environment: str, report: Report) -> ir.Environment:
    shaped: dict[str, tuple[bytes, ShapedFlag | None]] = {}
    for key in sorted(pieces.flags):
        shaped[key] = _shaped(key, pieces.flags[key], report)
    signatures = {key: each.signature if each is not None else None for key, (_, each) in shaped.items()}
    scope = Scope(environments, environment, frozenset(pieces.segments), signatures)

    kept: list[_Kept] = []
    references: dict[Reference, dict[Reference, str]] = {}
    segments: dict[str, ir.Segment] = {}
    ids: dict[str, tuple[str, ...]] = {}
    for key in sorted(pieces.segments):
        segment = _lowered(("segment", key), digest_of(pieces.segments[key]), pieces.segments[key], scope, report)
        if segment is not None and isinstance(segment.lowered, LoweredSegment):
            kept.append(segment)
            references[Reference("segment", key)] = segment.names
            segments[key] = segment.lowered.segment
            ids.update(segment.lowered.ids)
    flags: list[ir.Flag] = []
    for key, (digest, shape) in shaped.items():
        flag = _lowered(("flag", key), digest, pieces.flags[key], scope, report, shape) if shape is not None else None
        if flag is not None and isinstance(flag.lowered, ir.Flag):
            kept.append(flag)
            if flag.names:
                references[Reference("flag", key)] = flag.names
            flags.append(flag.lowered)
    check_references(references, report)
    attributes = frozenset[tuple[str, ...]]().union(*(each.attributes for each in kept))
    if len(attributes) > limits.ATTRIBUTES:
        message = f"the environment reads {len(attributes)} attributes; at most {limits.ATTRIBUTES}"
        report.error("B508", "", message, hint="bring several into one object or list")
    return ir.Environment(environment, tuple(flags), segments, ids)


def _shaped(key: str, raw: bytes, report: Report) -> tuple[bytes, ShapedFlag | None]:
    """With the digest of its text."""
    digest = digest_of(raw)
    shaped = _SHAPED.get((digest, key))
    if shaped is None:
        found = Report()
        check_name(key, "a flag", "flags", found)
        shaped = shape_flag(key, raw, found)
        report.extend(found.diagnostics)
        if shaped is not None and not found.diagnostics:
            _SHAPED.put((digest, key), shaped, len(raw))
    return digest, shaped


def digest_of(raw: bytes) -> bytes:
    """16 bytes that stand for a text: only they are kept of it."""
    return hashlib.blake2b(raw, digest_size=16).digest()


def _lowered(
    what: tuple[str, str], digest: bytes, raw: bytes, scope: Scope, report: Report, shaped: ShapedFlag | None = None
) -> _Kept | None:
    """From the cache where it still holds. What has errors is not kept: hints may depend on any name there is."""
    kind, key = what
    identity = (digest, kind, key, scope.environment, scope.environments)
    kept = _LOWERED.get(identity)
    if kept is not None and kept.holds_in(scope):
        report.extend(kept.warnings)
        return kept
    found, seen = Report(), Seen(scope)
    lowered: ir.Flag | LoweredSegment | None
    if shaped is not None:
        lowered = lower_flag(key, shaped, scope, seen, found)
    else:
        check_name(key, "a segment", "segments", found)
        lowered = lower_segment(key, raw, scope, seen, found)
    report.extend(found.diagnostics)
    if lowered is None:
        return None
    names = {Reference("segment", name): place for name, place in seen.segments.items()}
    names |= {Reference("flag", name): place for name, place in seen.flags.items()}
    asked = tuple((name, scope.flags[name]) for name in seen.flags)
    kept = _Kept(lowered, found.diagnostics, frozenset(seen.segments), asked, names, frozenset(seen.attributes))
    if not found.has_errors:
        _LOWERED.put(identity, kept, len(raw))
    return kept
