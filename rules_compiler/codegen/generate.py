"""From plans to the snapshot: links the flags' pieces, and numbers everything they share.

    [Plan(checkout: country in ["DE"] …), …]     ->     b"BURGEE\\r\\n…"

The order of the steps is the order in which numbers are needed: bits, then slots and their classes, then what names
these. What is worked out for a flag, a slot or a chunk is kept and found again, so a change of one flag costs little
more than putting the parts together. INVARIANT: nothing kept changes a byte; order comes from flags and sorted keys,
never from hashes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rules_compiler import ir
from rules_compiler.codegen.flags import FlagWriter
from rules_compiler.codegen.layout import PREDICATE, Header, Section, Via, assemble
from rules_compiler.codegen.limits import FRAGMENT_BYTES, check
from rules_compiler.codegen.links import Links, link
from rules_compiler.codegen.masks import bits_of
from rules_compiler.codegen.pieces import Piece, piece_of
from rules_compiler.codegen.programs import ProgramWriter
from rules_compiler.codegen.questions import TestWriter
from rules_compiler.codegen.rows import RowWriter
from rules_compiler.codegen.slots import SlotWriter, write_nodes
from rules_compiler.codegen.source_map import SourceMap, source_map
from rules_compiler.codegen.text import TextPool

_quoted = msgspec.json.Encoder().encode


def generate(environment: ir.Environment, plans: Sequence[ir.Plan], *, version: int, flag_set_id: str) -> bytes:
    """`plans`: each flag after those it depends on. Raises CompileError where the snapshot would exceed its limits."""
    pieces = _pieces(environment, plans)
    pieces.sort(key=lambda piece: piece.bit_count > 0)  # constants first; stable
    links = link(pieces, environment.ids)

    text = TextPool()
    fragments = [text.append(piece.fragments) for piece in pieces]  # first, so that those of constants touch
    nodes, node_table, node_seed = write_nodes(links, text)
    rows = RowWriter()
    slots = SlotWriter(links, text, rows)
    for slot in links.slots:
        slots.add(slot, links.partitions[slot])
    programs = ProgramWriter(links, text, slots)
    predicates = [
        PREDICATE.pack(
            *programs.add(predicate),
            *rows.add_mask(links.needed_true.get(predicate, ())),
            *rows.add_mask(links.needed_false.get(predicate, ())),
        )
        for predicate in links.predicates
    ]
    sources = _sources(pieces, links)
    tests = TestWriter(links, pieces)
    flags = FlagWriter(links, text, tests, sources.chunk_of)
    for piece, at in zip(pieces, fragments, strict=True):
        flags.add(piece, at)
    flag_table, flag_seed = flags.table()

    header = Header(
        version=version,
        node_seed=node_seed,
        flag_seed=flag_seed,
        bit_count=links.bit_count,
        constant_count=links.constant_count,
        environment=text.intern(environment.name.encode()),
        flag_set=text.intern(flag_set_id.encode()),
        metadata=text.intern(_metadata(flag_set_id, version)),
    )
    sections = {
        Section.TEXT: text.finish(),
        Section.NODES: nodes,
        Section.NODE_TABLE: node_table,
        Section.PREDICATES: b"".join(predicates),
        Section.FLAG_TABLE: flag_table,
        Section.SOURCE_CHUNKS: sources.chunks,
        Section.SOURCE_MAP: sources.content,
    }
    for writer in (slots, rows, programs, tests, flags):
        sections |= writer.sections()
    return assemble(header, sections)


def _pieces(environment: ir.Environment, plans: Sequence[ir.Plan]) -> list[Piece]:
    pieces, size = [], 0
    for plan in plans:
        pieces.append(piece_of(plan, environment.segments))
        size += len(pieces[-1].fragments)
        check("bytes of answers", size, FRAGMENT_BYTES)
    return pieces


def _metadata(flag_set_id: str, version: int) -> bytes:
    members = {"flagSetId": flag_set_id} if flag_set_id else {}
    return _quoted({**members, "version": str(version)})[1:-1]


def _sources(pieces: Sequence[Piece], links: Links) -> SourceMap:
    """Chunk 0 says which classes the values in each id list have."""
    ids = {
        atom.ids: {"slot": index, "classes": list(bits_of(links.partitions[slot].true[atom]))}
        for slot, index in links.slots.items()
        if slot.via is Via.ID
        for atom in links.partitions[slot].true
    }
    by_key = sorted(pieces, key=lambda piece: piece.key)
    return source_map({"ids": ids}, [(piece.key, piece.key_hash, piece.text) for piece in by_key])
