"""One flag as far as it can be written without the others: what is kept of codegen while a flag stays the same.

    Plan(checkout: country in ["DE"] -> split 20/80; fallthrough old)

becomes

    fragments   {"key":"checkout",…},{"key":"checkout",…},       outcomes   0: new SPLIT, 1: old SPLIT, 2: old DEFAULT
    class_asks  bit 0 asks country in ["DE"]                     serves     bit 0: split 0, bit 1: outcome 2
    tree        test 0 ? conjunction 0 : conjunction 1           tests      0: country in ["DE"]

generate.py links pieces: it gives bits, slots, predicates and tests their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from rules_compiler import ir
from rules_compiler.codegen.atoms import Ask, ClassAtom, SlotKey, class_atom
from rules_compiler.codegen.fragments import Outcome, Outcomes
from rules_compiler.codegen.hashing import hash64
from rules_compiler.codegen.layout import (
    FLAG_BITS,
    FLAG_CLIENT_VISIBLE,
    FLAG_DEPENDS,
    FLAG_OBJECT,
    FLAG_TIMED,
    LEAF,
    RANGE,
    SERVE_SPLIT,
    TREE_NODE,
    Reason,
    Via,
)
from rules_compiler.codegen.limits import check_flag
from rules_compiler.codegen.predicates import Predicate, predicate
from rules_compiler.codegen.source_map import Source, source_of
from rules_compiler.kept import Kept


class FlagAsk(NamedTuple):
    """Another flag's variant must be one of these; or, not positive, one of its others."""

    flag: str
    variants: tuple[str, ...]
    positive: bool


Test = Ask | tuple[Predicate, bool] | FlagAsk


class SplitPiece(NamedTuple):
    salt: int
    by: tuple[str, ...]
    ranges: bytes


class ServePiece(NamedTuple):
    serve: int  # an outcome of the flag, or SERVE_SPLIT | a split of the flag
    gates: tuple[FlagAsk, ...]


class PrerequisitePiece(NamedTuple):
    ask: FlagAsk
    outcome: int


@dataclass(frozen=True, slots=True)
class Piece:
    source: ir.Plan
    key: str
    key_bytes: bytes
    key_hash: int
    variants: dict[str, int]
    type: str
    bits: int  # FlagBits, but for what follows from the flags it depends on
    bit_count: int  # 0: a constant
    fragments: bytes
    outcomes: tuple[Outcome, ...]
    serves: tuple[ServePiece, ...]
    splits: tuple[SplitPiece, ...]
    prerequisites: tuple[PrerequisitePiece, ...]
    class_asks: tuple[tuple[SlotKey, tuple[Ask, ...], int], ...]  # all that conjunction i asks of the slot at once
    predicate_asks: tuple[tuple[Predicate, bool, int], ...]
    explained: tuple[ClassAtom, ...]  # id lists named by the flag as written
    tree: bytes
    tests: tuple[Test, ...]  # those of the tree, in its own numbering
    paths: tuple[tuple[str, ...], ...]  # of the context; without those of the flags it depends on
    depends: tuple[str, ...]
    text: Source


def piece_of(plan: ir.Plan, segments: Mapping[str, ir.Segment]) -> Piece:
    """INVARIANT: a plan is made anew when a segment that its flag names changes, so the plan stands for both."""
    piece = _PIECES.get(plan)
    if piece is None:
        piece = _Maker(plan, segments).piece()
        _PIECES.put(piece)
    return piece


_PIECES: Final[Kept[Piece]] = Kept(50_000)


class _Maker:
    def __init__(self, plan: ir.Plan, segments: Mapping[str, ir.Segment]) -> None:
        self.plan = plan
        self.segments = segments
        self.flag = plan.flag
        self.outcomes = Outcomes(plan.flag)
        self.splits: dict[SplitPiece, int] = {}
        self.paths: dict[tuple[str, ...], None] = {}
        self.class_asks: list[tuple[SlotKey, tuple[Ask, ...], int]] = []
        self.predicate_asks: list[tuple[Predicate, bool, int]] = []
        self.tests: dict[Test, int] = {}
        self.reads_now = False

    def piece(self) -> Piece:
        flag, conjunctions = self.flag, _reachable(self.plan.conjunctions)
        hint = "move parts of it into another flag"
        check_flag(flag.place, "alternatives in its rules", len(conjunctions), FLAG_BITS, hint)
        constant = self.constant(conjunctions)
        if constant:
            conjunctions = ()
        literals = [self.literals(i, conjunction) for i, conjunction in enumerate(conjunctions)]
        serves = [
            ServePiece(self.serve(conjunction), tuple(ask for ask in asks if isinstance(ask, FlagAsk)))
            for conjunction, asks in zip(conjunctions, literals, strict=True)
        ]
        prerequisites = [] if constant else [self.prerequisite(each) for each in flag.prerequisites]
        tree = self.tree(literals)
        depends = {gate.flag for serve in serves for gate in serve.gates} | {each.ask.flag for each in prerequisites}
        source = source_of(flag, self.segments)
        return Piece(
            source=self.plan,
            key=flag.key,
            key_bytes=flag.key.encode(),
            key_hash=hash64(flag.key.encode()),
            variants={variant.name: i for i, variant in enumerate(flag.variants)},
            type=flag.type,
            bits=FLAG_CLIENT_VISIBLE * flag.client_visible
            | FLAG_DEPENDS * bool(depends)
            | FLAG_OBJECT * (flag.type == "object")
            | FLAG_TIMED * self.reads_now,
            bit_count=len(conjunctions),
            fragments=self.outcomes.fragments,
            outcomes=tuple(self.outcomes.records),
            serves=tuple(serves),
            splits=tuple(self.splits),
            prerequisites=tuple(prerequisites),
            class_asks=tuple(self.class_asks),
            predicate_asks=tuple(self.predicate_asks),
            explained=tuple(filter(None, map(class_atom, source.ids))),
            tree=tree,
            tests=tuple(self.tests),
            paths=tuple(self.paths),
            depends=tuple(sorted(depends)),
            text=source,
        )

    def constant(self, conjunctions: Sequence[ir.Conjunction]) -> bool:
        """Whether no context can change the flag; then its outcome is the only one."""
        flag = self.flag
        if not flag.enabled or not conjunctions:
            self.outcomes.add(flag.off_variant, Reason.DISABLED)
            return True
        if conjunctions[0].literals or flag.prerequisites or len(_variants(self.served(conjunctions[0]))) > 1:
            return False
        self.serve(conjunctions[0])
        return True

    # What a conjunction serves

    def served(self, conjunction: ir.Conjunction) -> ir.Serve:
        rules = self.flag.rules
        return rules[conjunction.rule].serve if conjunction.rule < len(rules) else self.flag.fallthrough

    def serve(self, conjunction: ir.Conjunction) -> int:
        serve, flag = self.served(conjunction), self.flag
        if isinstance(serve, ir.Split):
            variants = _variants(serve)
            if len(variants) == 1:
                return self.outcomes.add(variants[0], Reason.SPLIT)
            return SERVE_SPLIT | self.splits.setdefault(self.split(serve), len(self.splits))
        if conjunction.rule < len(flag.rules):
            return self.outcomes.add(serve, Reason.DEFAULT if serve is None else Reason.TARGETING_MATCH)
        static = not flag.rules and not flag.prerequisites and serve is not None
        return self.outcomes.add(serve, Reason.STATIC if static else Reason.DEFAULT)

    def split(self, split: ir.Split) -> SplitPiece:
        self.paths[split.by] = None
        merged: list[tuple[int, int]] = []
        for each in split.ranges:
            outcome = self.outcomes.add(each.variant, Reason.SPLIT)
            if merged and merged[-1][1] == outcome:
                merged.pop()
            merged.append((each.end, outcome))
        return SplitPiece(hash64(split.salt.encode()), split.by, b"".join(RANGE.pack(*each) for each in merged))

    def prerequisite(self, prerequisite: ir.Prerequisite) -> PrerequisitePiece:
        outcome = self.outcomes.add(self.flag.off_variant, Reason.DEFAULT, prerequisite.flag)
        return PrerequisitePiece(FlagAsk(prerequisite.flag, prerequisite.variants, True), outcome)

    # What it asks

    def literals(self, index: int, conjunction: ir.Conjunction) -> list[Test]:
        tests: list[Test] = []
        by_slot: dict[SlotKey, list[Ask]] = {}
        for literal in conjunction.literals:
            atom = class_atom(literal.atom)
            if atom is not None:
                by_slot.setdefault(atom.slot, []).append((atom, literal.positive))
                self.reads(atom.slot)
                tests.append((atom, literal.positive))
            elif isinstance(literal.atom, ir.FlagIs):
                tests.append(FlagAsk(literal.atom.flag, literal.atom.variants, literal.positive))
            else:
                program = predicate(literal.atom, self.flag.rules[conjunction.rule].place)
                for path in sorted(program.paths):
                    self.paths[path] = None
                self.reads_now |= program.reads_now
                self.predicate_asks.append((program, literal.positive, index))
                tests.append((program, literal.positive))
        self.class_asks += [(slot, tuple(asks), index) for slot, asks in by_slot.items()]
        return tests

    def reads(self, slot: SlotKey) -> None:
        if slot.via is Via.NOW:
            self.reads_now = True
        else:
            self.paths[slot.path] = None

    def tree(self, literals: Sequence[Sequence[Test]]) -> bytes:
        """Empty where it would be too large: then the flag's part of the matrix is scanned."""
        if not literals or len(self.plan.tree) >= LEAF:
            return b""

        def child(index: int) -> int:
            return index if index >= 0 else LEAF | ~index

        return b"".join(
            TREE_NODE.pack(
                self.tests.setdefault(literals[node.conjunction][node.literal], len(self.tests)),
                node.conjunction,
                child(node.yes),
                child(node.no),
            )
            for node in self.plan.tree
        )


def _reachable(conjunctions: Sequence[ir.Conjunction]) -> Sequence[ir.Conjunction]:
    """Up to the first that always holds."""
    for i, conjunction in enumerate(conjunctions):
        if not conjunction.literals:
            return conjunctions[: i + 1]
    return conjunctions


def _variants(serve: ir.Serve) -> Sequence[str | None]:
    """Those it may give, the first first."""
    if isinstance(serve, ir.Split):
        return tuple(dict.fromkeys(each.variant for each in serve.ranges))
    return (serve,)
