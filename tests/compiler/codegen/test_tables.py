"""Hash tables: everything is found, nothing else is, and no run is long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules_compiler.codegen import tables
from rules_compiler.codegen.hashing import hash64, id_table
from rules_compiler.codegen.layout import PHI, RUN
from rules_compiler.codegen.tables import Placement, hash_of_node, place
from rules_compiler.diagnostics import CompileError
from tests.compiler.codegen.plans import blob, environment, flag, one_of, operand
from tests.compiler.codegen.read_snapshot import Reader


def test_positions_are_as_the_format_says() -> None:
    h = hash64(b"country")
    assert place((h,)) == Placement(1, 0, ((h * PHI & 2**64 - 1) >> 63,))
    assert place(()) == Placement(1, 0, ())


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=200))
def test_no_entry_is_lost_and_one_stays_empty(hashes: list[int]) -> None:
    placement = place(tuple(hashes))
    assert len(set(placement.positions)) == len(hashes) < 1 << placement.bits
    assert all(position < 1 << placement.bits for position in placement.positions)


def test_another_seed_is_tried_when_a_run_is_long() -> None:
    # Hashes that seed 0 puts side by side; their low bits differ, so another seed moves them apart.
    inverse = pow(PHI, -1, 2**64)
    crowded = tuple(((i << 57) + i * 0x1234567) * inverse % 2**64 for i in range(RUN + 1))
    placement = place(crowded)
    assert (placement.bits, placement.seed) > (7, 0)
    assert place.__wrapped__(crowded) == placement


def test_equal_hashes_are_refused_rather_than_placed_for_ever() -> None:
    with pytest.raises(CompileError, match="nearly the same hash"):
        place((7,) * (RUN + 1))


def texts_with_equal_hashes(count: int) -> list[str]:
    """ASCII, of 16 letters each. XXH64 keeps nothing secret: its last round is undone to find the second half."""
    p1, p2, p4, p5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
    mask = 2**64 - 1
    inverse = {p: pow(p, -1, 2**64) for p in (p1, p2)}

    def rotated(x: int, by: int) -> int:
        return (x << by | x >> (64 - by)) & mask

    wanted, found = 12345, []
    for i in range(10**9):
        first = f"{i:08d}".encode()
        lane = rotated(int.from_bytes(first, "little") * p2 & mask, 31) * p1 & mask
        state = (rotated((p5 + 16) ^ lane, 27) * p1 + p4) & mask
        lane = rotated((wanted - p4) * inverse[p1] & mask, 64 - 27) ^ state
        second = (rotated(lane * inverse[p1] & mask, 64 - 31) * inverse[p2] & mask).to_bytes(8, "little")
        if max(second) < 0x80 and min(second) > 0x20:
            found.append((first + second).decode())
            if len(found) == count:
                break
    assert len({hash64(text.encode()) for text in found}) == 1
    return found


def test_texts_made_to_collide_are_refused_at_once() -> None:
    texts = texts_with_equal_hashes(260)
    with pytest.raises(CompileError, match="nearly the same hash"):
        blob(environment(flag("f", (one_of("plan", *texts), "on"))))
    with pytest.raises(ValueError, match="too many ids in one bucket"):
        id_table([text.encode() for text in texts], bytes(2 * len(texts)))


def test_placing_equal_hashes_is_given_up_early() -> None:
    assert tables._placed((7,) * 10**6, 20, 0) is None


def test_nodes_with_equal_names_are_told_apart_by_their_parents() -> None:
    assert hash_of_node(5, 0) == 5 and hash_of_node(5, 1) == 5 + PHI
    paths = [operand("app", "version"), operand("os", "version"), operand("version"), operand("app", "version", "app")]
    rules = [(one_of("a", "b"), "on")] + [(type(one_of("a", "b"))(each, ("x",)), "on") for each in paths]
    reader = Reader(blob(environment(flag("f", *rules))))
    for each in paths:
        node: int | None = 0
        for name in each.path:
            assert node is not None
            assert reader.NODES[node].has_children
            node = reader.child(node, name)
        assert node is not None and reader.path(node) == each.path
    assert reader.child(0, "nothing") is None


def test_flags_and_strings_are_found() -> None:
    keys = [f"flag-{i}" for i in range(300)]
    reader = Reader(blob(environment(*(flag(key, (one_of("plan", key, "pro"), "on")) for key in keys))))
    found = [reader.flag_index(key) for key in keys]
    assert [reader.text(reader.FLAGS[i].key_at, reader.FLAGS[i].key_length) for i in found] == keys
    assert reader.flag_index("flag-300") is None
    (slot,) = reader.SLOTS
    assert len({reader.class_of_text(slot, key.encode()) for key in (*keys, "pro", "other")}) == 302
