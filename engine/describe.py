"""What is in a snapshot, in words: for `burgee inspect`.

    Snapshot  ->  {"flags": [{"key": "checkout", "tree": [{"test": "country in {'DE'}", "yes": "conjunction 0", …

Works on the records that Snapshot._layout gives and reads no source map: it shows what is evaluated, not what was
written.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from engine.snapshot import Snapshot

SECTIONS: Final = (  # in the order of enum Section, core/format.h
    "text nodes node_table slots points regions dictionary id_tables id_starts id_tags id_classes class_rows rows "
    "patches predicates ops literals numbers truths tests class_sets gate_variants flags flag_table flag_nodes "
    "flag_tests trees serves gated prerequisites outcomes splits ranges source_chunks source_map"
).split()
VIAS: Final = ("value", "lower", "size", "semver", "timestamp", "ip", "now", "id")
TYPES: Final = ("boolean", "string", "integer", "number", "object")
LEAF: Final = 0x8000
SHOWN: Final = 8  # values named in a test; the rest are counted


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """See Snapshot.describe in snapshot.pyi."""
    layout: dict[str, Any] = snapshot._layout()  # type: ignore[attr-defined]
    keys = snapshot.flag_keys
    tests = [_test(test, layout["slots"], keys) for test in layout["tests"]]
    return {
        "environment": snapshot.environment,
        "flagSetId": snapshot.flag_set_id,
        "version": snapshot.version,
        "digest": snapshot.digest,
        "size": snapshot.size,
        "sections": dict(zip(SECTIONS, layout["sections"], strict=True)),
        "matrixBits": 64 * layout["words"],
        "attributes": layout["attributes"],
        "predicates": layout["predicates"],
        "readings": [
            {
                "reading": _reading(slot),
                "classes": slot["classes"],
                "strings": len(slot["strings"]),
                "breakpoints": len(slot["points"]),
                "ids": slot["ids"],
            }
            for slot in layout["slots"]
        ],
        "flags": [
            {
                "key": key,
                "type": TYPES[flag["type"]],
                "constant": flag["conjunctions"] == 0,
                "clientVisible": flag["client_visible"],
                "conjunctions": flag["conjunctions"],
                "prerequisites": flag["prerequisites"],
                "outcomes": flag["fragments"],
                "tree": [_node(node, [tests[index] for index in flag["tests"]], flag) for node in flag["tree"]],
            }
            for key, flag in zip(keys, layout["flags"], strict=True)
        ],
    }


def _node(node: tuple[int, int, int, int], tests: list[str], flag: dict[str, Any]) -> dict[str, Any]:
    test, conjunction, yes, no = node

    def child(index: int) -> int | str:
        if index < LEAF:
            return index
        last = (index & ~LEAF) == flag["conjunctions"] - 1
        return "fallthrough" if last else f"conjunction {index & ~LEAF}"

    return {"test": tests[test], "conjunction": conjunction, "yes": child(yes), "no": child(no)}


def _reading(slot: dict[str, Any]) -> str:
    via, path = VIAS[slot["via"]], ".".join(slot["path"])
    return "now" if via == "now" else path if via == "value" else f"{via}({path})"


def _test(test: tuple[int, int, list[int]], slots: list[dict[str, Any]], keys: tuple[str, ...]) -> str:
    kind, subject, accepted = test
    if kind == 0:
        return _classes(slots[subject], set(accepted))
    if kind == 3:
        return f"flag({keys[subject]}) gives one of {len(accepted)} variants"
    return f"predicate {subject} is {'true' if kind == 1 else 'false'}"


def _classes(slot: dict[str, Any], accepted: set[int]) -> str:
    """A set of classes as the values they stand for."""
    reading = _reading(slot)
    if VIAS[slot["via"]] == "id":
        parts = ["an id of a list"] if accepted - {slot["kinds"]["string"]} else []
    else:
        parts = sorted(repr(text) for text, class_ in slot["strings"].items() if class_ in accepted)
        parts = parts[:SHOWN] + ([f"{len(parts) - SHOWN} more strings"] if len(parts) > SHOWN else [])
    parts += _ranges(slot, accepted)
    kinds = (
        slot["kinds"]
        if slot["via"] == 0
        else {name: slot["kinds"][name] for name in ("string",) if slot["via"] in (1, 7)}
    )
    parts += [f"other {name}" if name == "string" else name for name, class_ in kinds.items() if class_ in accepted]
    return f"{reading} in {{{', '.join(parts)}}}"


def _ranges(slot: dict[str, Any], accepted: set[int]) -> list[str]:
    """Regions 0 … 2n of n breakpoints that are accepted, joined where they touch."""
    regions, points = slot["regions"], [_point(slot["via"], *point) for point in slot["points"]]
    if not points:
        return ["any number"] if slot["via"] == 0 and regions[0] in accepted else []
    ranges, at = [], 0
    while at < len(regions):
        if regions[at] not in accepted:
            at += 1
            continue
        end = at
        while end + 1 < len(regions) and regions[end + 1] in accepted:
            end += 1
        low = None if at == 0 else (">=" if at % 2 else ">") + " " + points[(at - 1) // 2]
        high = None if end == len(regions) - 1 else ("<=" if end % 2 else "<") + " " + points[end // 2]
        if at == end and at % 2:
            ranges.append(points[at // 2])
        else:
            ranges.append(" and ".join(part for part in (low, high) if part) or "anything ordered")
        at = end + 1
    return ranges[:SHOWN] + ([f"{len(ranges) - SHOWN} more ranges"] if len(ranges) > SHOWN else [])


def _point(via: int, hi: int, lo: int, text: str) -> str:
    """A breakpoint's key as people write it; the keys are described in core/format.h, Point."""
    match VIAS[via]:
        case "semver":
            return f"{hi >> 32}.{hi & 0xFFFFFFFF}.{lo >> 32}" + (f"-{text}" if text else "")
        case "timestamp" | "now":
            try:
                return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=hi - 2**63)).isoformat()
            except OverflowError:
                return f"{hi - 2**63} us"
        case "ip":
            address = IPv6Address(hi << 64 | lo)
            return str(address.ipv4_mapped or address)
    bits = hi ^ 2**63 if hi >> 63 else hi ^ (2**64 - 1)
    number: float = struct.unpack("<d", struct.pack("<Q", bits))[0]
    return str(int(number)) if number.is_integer() else repr(number)
