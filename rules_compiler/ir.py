"""The intermediate representation: what every dialect's front end produces and every pass reads.

    country in ["DE", "FR"] && !segment("staff")

becomes

    And((In(Operand(("country",)), ("DE", "FR")), Not(SegmentIs("staff"))))

The IR imports nothing of ours. Every node is a frozen value: a pass takes a tree and returns a new one. Truth is
three-valued (docs/semantics.md): a missing or mistyped operand makes its atom *unknown*, neither true nor false.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal as Word

import msgspec


class Node(msgspec.Struct, frozen=True, tag=True, tag_field="node", array_like=False, omit_defaults=True):
    """Base of all expression nodes: compared and hashed by value, encoded by msgspec with its class name in `node`."""


class Via(StrEnum):
    """How the raw JSON value at a path is read before it is compared; what cannot be read so is unknown."""

    VALUE = "value"  # the value itself: string, number or boolean
    LOWER = "lower"  # a string with A-Z mapped to a-z, all else kept
    SIZE = "size"  # code points of a string, elements of a list, members of an object: an integer
    SEMVER = "semver"  # a string read as a version, ordered as SemVer 2.0.0 section 11
    TIMESTAMP = "timestamp"  # an RFC 3339 string, or a number of seconds since the epoch: whole microseconds
    IP = "ip"  # an IPv4 or IPv6 address; IPv4 is its v4-mapped IPv6 address
    NOW = "now"  # the time of the evaluation, in microseconds; the path is empty


class Operand(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attribute of the context, or of the element a quantifier is looking at."""

    path: tuple[str, ...]
    via: Via = Via.VALUE
    scope: int = 0  # 0: the context; 1: the element of the outermost quantifier; 2: of the one inside it


Order = Word["<", "<=", ">", ">=", "=="]
TextTest = Word["starts_with", "ends_with", "contains", "matches"]


class Constant(Node, frozen=True, tag="constant"):
    value: bool | None  # None: unknown whatever the context


class And(Node, frozen=True, tag="and"):
    items: tuple[Expr, ...]


class Or(Node, frozen=True, tag="or"):
    items: tuple[Expr, ...]


class Not(Node, frozen=True, tag="not"):
    item: Expr


class Choice(Node, frozen=True, tag="choice"):
    """`test ? then : otherwise`; unknown when the test is."""

    test: Expr
    then: Expr
    otherwise: Expr


class Has(Node, frozen=True, tag="has"):
    """The path leads to a value other than null. Never unknown."""

    operand: Operand


class In(Node, frozen=True, tag="in"):
    """The operand equals one of the values, which are all strings, all numbers or all booleans; sorted, distinct.

    Via VALUE, or LOWER with strings.
    """

    operand: Operand
    values: tuple[str, ...] | tuple[bool, ...] | tuple[int | float, ...]


class InIds(Node, frozen=True, tag="in_ids"):
    """The operand, a string (or an exact integer, as its decimal text), is in the named id list of the environment."""

    operand: Operand
    ids: str


class InNetworks(Node, frozen=True, tag="in_networks"):
    """The address lies in one of the networks, written `10.0.0.0/8` or `2001:db8::/32`, host bits zero."""

    operand: Operand
    networks: tuple[str, ...]


class Compare(Node, frozen=True, tag="compare"):
    """The operand against a constant whose type follows from the operand's `via`:

    VALUE, LOWER: str (code point order) or, VALUE only, a number; SIZE: int; SEMVER: str; TIMESTAMP, NOW: int, in
    microseconds. `==` is only used with SIZE, SEMVER, TIMESTAMP and NOW: equal values are `In`, equal addresses
    `InNetworks`.
    """

    operand: Operand
    op: Order
    value: str | int | float


class Text(Node, frozen=True, tag="text"):
    """A test of a string (VALUE or LOWER) against a constant; `matches` is an RE2 search, anywhere in the string."""

    operand: Operand
    test: TextTest
    pattern: str


class Contains(Node, frozen=True, tag="contains"):
    """Some element of the list equals one of the values; an element of another type is just not equal."""

    operand: Operand
    values: tuple[str, ...] | tuple[bool, ...] | tuple[int | float, ...]


class Quantified(Node, frozen=True, tag="quantified"):
    """`list.exists(x, body)` or `list.all(x, body)`: three-valued or, and over the elements."""

    kind: Word["exists", "all"]
    operand: Operand
    body: Expr


class CompareOperands(Node, frozen=True, tag="compare_operands"):
    """`left op right + offset`; both of one kind (strings, numbers, versions, times). The offset is for times."""

    left: Operand
    op: Order
    right: Operand
    offset: int = 0  # microseconds


class FlagIs(Node, frozen=True, tag="flag_is"):
    """The other flag's variant is one of these. Unknown where that flag has none (an error, or the code default)."""

    flag: str
    variants: tuple[str, ...]


class SegmentIs(Node, frozen=True, tag="segment_is"):
    """The segment's condition; replaced by it in passes/inline_segments.py."""

    segment: str


class Named(Node, frozen=True, tag="segment"):
    """A segment's condition with its name kept, in the source map only: explanations show both."""

    segment: str
    item: Expr


Atom = Has | In | InIds | InNetworks | Compare | Text | Contains | Quantified | CompareOperands | FlagIs
Expr = Constant | And | Or | Not | Choice | SegmentIs | Named | Atom


BUCKETS = 100_000


class Range(msgspec.Struct, frozen=True, array_like=True):
    """Buckets [start, end) of 100,000 go to a variant."""

    start: int
    end: int
    variant: str


class Split(msgspec.Struct, frozen=True):
    """Serve by bucket: floor(mix(hash64(value of `by`) ^ seed(salt)) * 100000 / 2^64), see docs/semantics.md."""

    by: tuple[str, ...]
    salt: str
    ranges: tuple[Range, ...]  # sorted, touching, covering [0, BUCKETS); empty ranges left out


Serve = str | Split | None  # a variant, a split, or the caller's own default


class Rule(msgspec.Struct, frozen=True):
    id: str
    name: str
    when: Expr
    serve: Serve
    text: str  # the condition as it was written
    place: str  # flags.checkout.rules[2]


class Prerequisite(msgspec.Struct, frozen=True):
    flag: str
    variants: tuple[str, ...]


class Variant(msgspec.Struct, frozen=True):
    name: str
    value: msgspec.Raw  # JSON text, compact


class Flag(msgspec.Struct, frozen=True):
    key: str
    type: Word["boolean", "string", "integer", "number", "object"]
    variants: tuple[Variant, ...]
    enabled: bool
    off_variant: str | None
    prerequisites: tuple[Prerequisite, ...]
    rules: tuple[Rule, ...]
    fallthrough: Serve
    client_visible: bool
    place: str  # flags.checkout


class Segment(msgspec.Struct, frozen=True):
    key: str
    when: Expr  # includes and excludes already in it, as InIds
    text: str
    place: str


class Environment(msgspec.Struct, frozen=True):
    """All that one snapshot is compiled from."""

    name: str
    flags: tuple[Flag, ...]  # sorted by key
    segments: dict[str, Segment]
    ids: dict[str, tuple[str, ...]]  # id lists, each sorted and distinct


# What the passes make of a flag, and codegen reads.


class Literal(msgspec.Struct, frozen=True):
    """An atom that must be true, or (not positive) must be false; unknown is neither.

    A condition with too many alternatives to split keeps a part of it whole: then `atom` is a tree of And, Or and
    (above atoms only) Not, without FlagIs, and positive.
    """

    atom: Expr
    positive: bool = True


class Conjunction(msgspec.Struct, frozen=True):
    """All literals hold -> the rule serves. A rule is one or more of these; the fallthrough is the last, with none."""

    rule: int  # index into Flag.rules; len(rules) is the fallthrough
    literals: tuple[Literal, ...]  # cheapest and most selective first; FlagIs last


class TreeNode(msgspec.Struct, frozen=True):
    """Test a literal of a conjunction. A child >= 0 is a node, always a later one; ~c is: conjunction c serves."""

    conjunction: int
    literal: int
    yes: int
    no: int


class Plan(msgspec.Struct, frozen=True):
    """One flag, ready for codegen. `tree[0]` is the root; an empty tree means conjunction 0 always serves."""

    flag: Flag
    conjunctions: tuple[Conjunction, ...]
    tree: tuple[TreeNode, ...]
