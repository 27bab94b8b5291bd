"""What one published document may hold. The table of docs/flag-documents.md; the engine accepts twice these at load."""

from __future__ import annotations

from typing import Final

DOCUMENT_BYTES: Final = 16 * 1024 * 1024  # id lists included
FLAGS: Final = 10_000
SEGMENTS: Final = 5_000
VARIANTS: Final = 100  # of one flag
RULES: Final = 500  # of one flag
VALUE_BYTES: Final = 64 * 1024  # of one variant, as compact JSON
VALUE_DEPTH: Final = 32  # lists and objects inside each other in one variant's value
IDS: Final = 1_000_000  # of one segment, include and exclude together
ENVIRONMENTS: Final = 100
ATTRIBUTES: Final = 2_000  # different paths that one environment reads
PATH_MEMBERS: Final = 32  # a context is at most 32 levels deep, so a longer path leads nowhere

CONDITION_BYTES: Final = 16 * 1024
CONDITION_NESTING: Final = 16  # parentheses and brackets inside each other
CONDITION_HEIGHT: Final = 64  # of the syntax tree: operators inside each other, however written
ATOMS: Final = 256  # of one condition
LIST_LITERALS: Final = 10_000  # in one list
REGEX_BYTES: Final = 512
REGEX_MEMORY: Final = 1024 * 1024  # RE2's budget for one compiled regex
QUANTIFIER_NESTING: Final = 2

SEGMENT_NESTING: Final = 16
PREREQUISITE_CHAIN: Final = 16  # flags that wait for one another

ALIAS_GROWTH: Final = 10  # times the written size that YAML aliases may expand a document to
EXACT_INTEGER: Final = 2**53 - 1
NAME: Final = r"[A-Za-z0-9._-]{1,128}"  # of flags, variants, segments, rules and environments
