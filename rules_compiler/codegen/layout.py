"""The bytes of a snapshot: every record, enumeration and limit of engine/core/format.h, and how a blob is put together.

    Header(version=17, bit_count=4, …), {Section.TEXT: b"…", Section.FLAGS: FLAG.pack(…) * n, …}

becomes

    BURGEE\\r\\n 01000000 … | TEXT … | NODES … | … | SOURCE_MAP …          each section at a multiple of 64 bytes

engine/core/format.h says what each field means; tests/compiler/codegen/test_layout.py compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, auto
from hashlib import blake2b
from struct import Struct
from typing import Final, NamedTuple


class Section(IntEnum):
    """In the order of the blob."""

    TEXT = 0
    NODES = auto()
    NODE_TABLE = auto()
    SLOTS = auto()
    POINTS = auto()
    REGIONS = auto()
    DICTIONARY = auto()
    ID_TABLES = auto()
    ID_STARTS = auto()
    ID_TAGS = auto()
    ID_CLASSES = auto()
    CLASS_ROWS = auto()
    ROWS = auto()
    PATCHES = auto()
    PREDICATES = auto()
    OPS = auto()
    LITERALS = auto()
    NUMBERS = auto()
    TRUTHS = auto()
    TESTS = auto()
    CLASS_SETS = auto()
    GATE_VARIANTS = auto()
    FLAGS = auto()
    FLAG_TABLE = auto()
    FLAG_NODES = auto()
    FLAG_TESTS = auto()
    TREES = auto()
    SERVES = auto()
    GATED = auto()
    PREREQUISITES = auto()
    OUTCOMES = auto()
    SPLITS = auto()
    RANGES = auto()
    SOURCE_CHUNKS = auto()
    SOURCE_MAP = auto()


# Records, little-endian. Padding is written out (`x`), so that no byte is left to chance.
NODE: Final = Struct("<IIHBB")  # name at, length; parent; has_children; keeps_elements
ENTRY: Final = Struct("<IIIHH")  # tag; text at, length; target; parent
POINT: Final = Struct("<QQII")  # hi; lo; pre-release at, length
SLOT: Final = Struct("<HBBH7HHxx8I8xQ")
ID_TABLE: Final = Struct("<IIII")  # bits; count; first_start; first_id
CLASS_ROW: Final = Struct("<II")  # first; patches, or DENSE
PATCH: Final = Struct("<I4xQ")  # word; bits
PREDICATE: Final = Struct("<6I")  # first_op, op_count; first_true, true_count; first_false, false_count
OP: Final = Struct("<4BIIII4xq")  # kind, order, via, scope; node, steps; a, b; n
TEXT: Final = Struct("<II")  # at, length
TEST: Final = Struct("<HHII")  # kind; subject; first; count
TREE_NODE: Final = Struct("<HHHH")  # test; conjunction; yes; no
FLAG: Final = Struct("<IHBB12IHH4x")
GATED: Final = Struct("<III")  # serve; first_test; test_count
PREREQUISITE: Final = Struct("<II")  # test; outcome
OUTCOME: Final = Struct("<IIHBB")  # fragment at, length; variant; reason; bits
SPLIT: Final = Struct("<QHHI")  # salt; node; range_count; first_range
RANGE: Final = Struct("<II")  # end; outcome
SOURCE_CHUNK: Final = Struct("<III")  # offset; length; raw_length
HEADER: Final = Struct(f"<8sIIQ32sQQQ8I{2 * len(Section)}I")


class Via(IntEnum):
    VALUE = 0
    LOWER = auto()
    SIZE = auto()
    SEMVER = auto()
    TIMESTAMP = auto()
    IP = auto()
    NOW = auto()
    ID = auto()


class OpKind(IntEnum):
    CONSTANT = 0
    AND = auto()
    OR = auto()
    NOT = auto()
    CLASS_IS = auto()
    HAS = auto()
    IN_STRINGS = auto()
    IN_NUMBERS = auto()
    IN_BOOLEANS = auto()
    ORDER_TEXT = auto()
    ORDER_KEY = auto()
    IN_NETWORKS = auto()
    STARTS_WITH = auto()
    ENDS_WITH = auto()
    CONTAINS_TEXT = auto()
    MATCHES = auto()
    HAS_STRING = auto()
    HAS_NUMBER = auto()
    HAS_BOOLEAN = auto()
    EXISTS = auto()
    ALL = auto()
    ORDER_OPERANDS = auto()
    OPERAND = auto()


class TestKind(IntEnum):
    CLASS = 0
    TRUE = auto()
    FALSE = auto()
    FLAG = auto()


class Reason(IntEnum):
    STATIC = 0
    DEFAULT = auto()
    TARGETING_MATCH = auto()
    SPLIT = auto()
    DISABLED = auto()


ORDERS: Final = {"<": 0, "<=": 1, ">": 2, ">=": 3, "==": 4}
TYPES: Final = {"boolean": 0, "string": 1, "integer": 2, "number": 3, "object": 4}

MAGIC: Final = b"BURGEE\r\n"
FORMAT_VERSION: Final = 1
NONE16: Final = 0xFFFF
NONE32: Final = 0xFFFF_FFFF
PHI: Final = 0x9E37_79B9_7F4A_7C15
DENSE: Final = NONE32
LEAF: Final = 0x8000
SERVE_SPLIT: Final = 1 << 30
SERVE_GATED: Final = 2 << 30
FLAG_CLIENT_VISIBLE, FLAG_DEPENDS, FLAG_OBJECT, FLAG_TIMED = 1, 2, 4, 8
OUTCOME_METADATA: Final = 1
MAX_PATCHES: Final = 16

# What the compiler makes: half of what a loader accepts.
RUN: Final = 64  # filled entries of a hash table in a row; a quarter of MAX_PROBE
NODES: Final = 10_000
SLOTS: Final = 16_000
PREDICATES: Final = 16_000
BITS: Final = 1 << 21
FLAG_BITS: Final = 16_000
CLASSES: Final = 30_000
CHUNK_BYTES: Final = (32 << 20) - 2  # without the braces around them
OP_DEPTH: Final = 48

ALIGNMENT: Final = 64
_DIGEST_END: Final = 56


class Extent(NamedTuple):
    at: int
    length: int


class Header(NamedTuple):
    version: int
    node_seed: int
    flag_seed: int
    bit_count: int
    constant_count: int
    environment: Extent  # in TEXT, as the next two
    flag_set: Extent
    metadata: Extent


def assemble(header: Header, sections: Mapping[Section, bytes]) -> bytes:
    """The blob: sections one after another, what the header says of them, and the digest over it all."""
    extents: list[int] = []
    body: list[bytes] = []
    end = HEADER.size
    for section in Section:
        content = sections.get(section, b"")
        start = end + -end % ALIGNMENT
        body += (bytes(start - end), content)
        extents += (start, len(content))
        end = start + len(content)
    head = HEADER.pack(
        MAGIC,
        FORMAT_VERSION,
        HEADER.size,
        end,
        bytes(32),
        header.version,
        header.node_seed,
        header.flag_seed,
        header.bit_count,
        header.constant_count,
        *header.environment,
        *header.flag_set,
        *header.metadata,
        *extents,
    )
    rest = b"".join((head[_DIGEST_END:], *body))
    return b"".join((head[: _DIGEST_END - 32], blake2b(rest, digest_size=32).digest(), rest))
