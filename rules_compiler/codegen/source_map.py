"""The source map: flags as they were before codegen, for explanations. Compressed, and not touched when evaluating.

    chunk 0: {"ids": {"beta.include": {"slot": 3, "classes": [2, 4]}}}
    chunk 1: {"banner": {"flag": {…}, "ids": []}, "checkout": {"flag": {…}, "ids": ["beta.include"]}}

Where a chunk begins depends on the flag's key (and on how large a chunk may be), so that a change of one flag
compresses one chunk again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from rules_compiler import ir
from rules_compiler.codegen.layout import CHUNK_BYTES, SOURCE_CHUNK
from rules_compiler.codegen.limits import check_flag

FLAGS_IN_A_CHUNK: Final = 32  # on average
_encode: Final = msgspec.json.Encoder().encode


class Source(NamedTuple):
    json: bytes  # "checkout":{"flag":…,"ids":…}
    ids: tuple[ir.InIds, ...]  # what it asks about id lists


def source_of(flag: ir.Flag, segments: Mapping[str, ir.Segment]) -> Source:
    """The flag as written, but with the conditions of segments beside their names."""
    shown = _Shown(segments)
    rules = tuple(replace(rule, when=shown.of(rule.when, 0, 0)) for rule in flag.rules)
    names = sorted({atom.ids for atom in shown.ids})
    described = {"flag": replace(flag, rules=rules), "ids": names}
    return Source(_encode(flag.key) + b":" + _encode(described), tuple(shown.ids))


class _Shown:
    def __init__(self, segments: Mapping[str, ir.Segment]) -> None:
        self.segments = segments
        self.ids: dict[ir.InIds, None] = {}

    def of(self, expr: ir.Expr, moved: int, depth: int) -> ir.Expr:
        """`depth`: quantifiers around it; `moved`: how many of them are around the segment it was written in."""
        match expr:
            case ir.And(items=items) | ir.Or(items=items):
                parts = []
                for item in items:  # no comprehension: its frame would halve the depth that Python can go
                    parts.append(self.of(item, moved, depth))
                return type(expr)(tuple(parts))
            case ir.Not(item=item):
                return ir.Not(self.of(item, moved, depth))
            case ir.Choice(test=test, then=then, otherwise=otherwise):
                return ir.Choice(
                    self.of(test, moved, depth), self.of(then, moved, depth), self.of(otherwise, moved, depth)
                )
            case ir.SegmentIs(segment=key):
                return ir.Named(key, self.of(self.segments[key].when, depth, depth))
            case ir.Quantified(kind=kind, operand=operand, body=body):
                return ir.Quantified(kind, _moved(operand, moved), self.of(body, moved, depth + 1))
            case ir.CompareOperands(left=left, right=right):
                return replace(expr, left=_moved(left, moved), right=_moved(right, moved)) if moved else expr
            case ir.Constant() | ir.FlagIs() | ir.Named():
                return expr
            case ir.InIds():
                self.ids[expr] = None
        return replace(expr, operand=_moved(expr.operand, moved)) if moved else expr


def _moved(operand: ir.Operand, by: int) -> ir.Operand:
    return replace(operand, scope=operand.scope + by) if operand.scope else operand


class SourceMap(NamedTuple):
    chunks: bytes  # SOURCE_CHUNKS
    content: bytes  # SOURCE_MAP
    chunk_of: dict[str, int]  # flag key -> chunk


def source_map(environment: object, flags: Iterable[tuple[str, int, Source]]) -> SourceMap:
    """`environment`: what chunk 0 says. `flags`: keys, their hashes and sources, in the order of keys."""
    parts: list[list[bytes]] = [[]]
    chunk_of: dict[str, int] = {}
    size = 0
    for key, key_hash, source in flags:
        size += len(source.json) + 1
        if parts[-1] and (key_hash % FLAGS_IN_A_CHUNK == 0 or size > CHUNK_BYTES):
            parts.append([])
            size = len(source.json) + 1
        hint = "move long lists of values into the `include` list of a segment"
        check_flag(f"flags.{key}", "bytes with its segments written in", size, CHUNK_BYTES, hint)
        parts[-1].append(source.json)
        chunk_of[key] = len(parts)
    streams = [_compressed((_encode(environment)[1:-1],)), *(_compressed(tuple(part)) for part in parts if part)]
    records, offset = [], 0
    for stream, raw_length in streams:
        records.append(SOURCE_CHUNK.pack(offset, len(stream), raw_length))
        offset += len(stream)
    return SourceMap(b"".join(records), b"".join(stream for stream, _ in streams), chunk_of)


@lru_cache(1024)
def _compressed(members: tuple[bytes, ...]) -> tuple[bytes, int]:
    """A JSON object of the members as one zlib stream, and the object's length."""
    raw = b"{" + b",".join(members) + b"}"
    return zlib.compress(raw, 9), len(raw)
