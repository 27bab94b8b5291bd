"""Snapshots put together again with sections of one's own: what no compiler writes, under a right digest.

edited(blob, FLAG_NODES=b"\x01\x00" * 50)  ->  the blob with that section, offsets and digest made to fit
"""

from __future__ import annotations

import struct

from rules_compiler.codegen.layout import Extent, Header, Section, assemble
from tests.compiler.codegen.read_snapshot import Reader, records


def edited(blob: bytes, *, metadata: bytes | None = None, **sections: bytes) -> bytes:
    """`metadata`: of the answers; it is put in front of the zeros that end TEXT."""
    reader = Reader(blob)
    h = reader.header
    content = {Section[name]: bytes(body) for name, body in (reader.sections | sections).items()}
    place = Extent(h.metadata_at, h.metadata_length)
    if metadata is not None:
        text = content[Section.TEXT]
        place = Extent(len(text) - 64, len(metadata))
        content[Section.TEXT] = text[:-64] + metadata + text[-64:]
    header = Header(
        version=h.version,
        node_seed=h.node_seed,
        flag_seed=h.flag_seed,
        bit_count=h.bit_count,
        constant_count=h.constant_count,
        environment=Extent(h.environment_at, h.environment_length),
        flag_set=Extent(h.flag_set_at, h.flag_set_length),
        metadata=place,
    )
    return assemble(header, content)


def changed(blob: bytes, section: str, record: str, index: int, **fields: int) -> bytes:
    """The section with other values in one of its records."""
    reader = Reader(blob)
    kind = records()[record]
    rows = list(getattr(reader, section))
    rows[index] = rows[index]._replace(**fields)
    return b"".join(kind.struct.pack(*row) for row in rows)


def packed(record: str, *rows: tuple[int, ...]) -> bytes:
    return b"".join(records()[record].struct.pack(*row) for row in rows)


def numbers(code: str, values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}{code}", *values)
