"""A second reader of snapshots: records by their names in engine/core/format.h, whose structs it parses itself.

    blob   ->   Reader(blob).FLAGS[0].bit_count, .text(flag.key_at, flag.key_length), .matrix(context), …

It shares nothing with rules_compiler/codegen/layout.py or the engine, so that a slip in either of them shows.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections import namedtuple
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import xxhash

from tests import reference

HEADER = Path(__file__).parents[3] / "engine/core/format.h"
VIAS = ("VALUE", "LOWER", "SIZE", "SEMVER", "TIMESTAMP", "IP", "NOW", "ID")
KINDS = ("missing", "unusable", "false", "true", "string", "list", "object")
_CODES = {"uint8_t": "B", "uint16_t": "H", "uint32_t": "I", "uint64_t": "Q", "int64_t": "q", "double": "d"}
PHI = 0x9E3779B97F4A7C15
MASK = 2**64 - 1


class Record:
    """One struct of the header: `@` lays it out as a C compiler does."""

    def __init__(self, name: str, body: str, known: Mapping[str, Record]) -> None:
        codes, fields = [], []
        for kind, names in re.findall(r"(\w+) ([^;]+);", body):
            for each in names.split(","):
                field, _, count = each.strip().rstrip("]").partition("[")
                many = {"": 1, "SECTION_COUNT": len(sections())}.get(count) or int(count)
                if kind in known:  # Extent sections[SECTION_COUNT]
                    codes += ["II"] * many
                    fields += [f"section_{i}_{part}" for i in range(many) for part in ("offset", "length")]
                elif count:
                    codes.append(f"{many}s")
                    fields.append(field)
                else:
                    codes.append(_CODES[kind])
                    fields.append(field)
        alignment = "0Q" if set("".join(codes)) & set("Qqd") else "0I" if "I" in "".join(codes) else "0H"
        self.struct = struct.Struct("@" + "".join(codes) + alignment)
        self.make: Any = namedtuple(name, fields)  # type: ignore[misc]

    def read(self, content: bytes) -> list[Any]:
        return [self.make(*fields) for fields in self.struct.iter_unpack(content)]


@cache
def source() -> str:
    return re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)


@cache
def sections() -> tuple[str, ...]:
    (body,) = re.findall(r"enum Section \{(.*?)\}", source(), re.DOTALL)
    return tuple(name for name in re.findall(r"\w+", body) if name != "SECTION_COUNT")


@cache
def section_types() -> dict[str, str]:
    (body,) = re.findall(r"enum Section \{(.*?)\}", HEADER.read_text(), re.DOTALL)
    return dict(re.findall(r"(\w+),\s+/\* (\w+) ", body))


@cache
def records() -> dict[str, Record]:
    found: dict[str, Record] = {}
    for body, name in re.findall(r"typedef struct \{(.*?)\} (\w+);", source(), re.DOTALL):
        found[name] = Record(name, body, found)
    return found


class Reader:
    def __init__(self, blob: bytes) -> None:
        header = records()["Header"]
        (self.header,) = header.read(blob[: header.struct.size])
        assert self.header.magic == b"BURGEE\r\n" and self.header.format == 1 and self.header.length == len(blob)
        assert self.header.digest == blake2b(blob[56:], digest_size=32).digest()
        end = self.header.header_length
        assert end == header.struct.size
        self.sections: dict[str, bytes] = {}
        self._records: dict[str, Any] = {}
        for i, name in enumerate(sections()):
            offset = getattr(self.header, f"section_{i}_offset")
            length = getattr(self.header, f"section_{i}_length")
            assert offset == (end + 63) // 64 * 64 and not any(blob[end:offset]), name
            self.sections[name] = blob[offset : offset + length]
            end = offset + length
        assert end == len(blob)

    def __getattr__(self, name: str) -> Any:
        if name not in sections():
            raise AttributeError(name)
        if name not in self._records:
            kind, content = section_types()[name], self.sections[name]
            if kind in _CODES:
                code = struct.Struct("<" + _CODES[kind])
                self._records[name] = [value for (value,) in code.iter_unpack(content)]
            else:
                self._records[name] = records()[kind].read(content)
        return self._records[name]

    def text(self, at: int, length: int) -> str:
        return self.sections["TEXT"][at : at + length].decode()

    # What is in it

    def flags(self) -> dict[str, Any]:
        return {self.text(flag.key_at, flag.key_length): flag for flag in self.FLAGS}

    def path(self, node: int) -> tuple[str, ...]:
        record = self.NODES[node]
        return () if record.parent == 0xFFFF else (*self.path(record.parent), self.text(record.at, record.length))

    def slots(self) -> dict[tuple[tuple[str, ...], str], Any]:
        return {(self.path(slot.node), VIAS[slot.via]): slot for slot in self.SLOTS}

    def fragments(self, flag: Any) -> list[dict[str, Any]]:
        outcomes = self.OUTCOMES[flag.first_outcome : flag.first_outcome + flag.outcome_count]
        assert all(self.text(each.at + each.length, 1) == "," for each in outcomes)
        return [json.loads(self.text(each.at, each.length)) for each in outcomes]

    def chunk(self, index: int) -> Any:
        offset, length, raw_length = self.SOURCE_CHUNKS[index]
        raw = zlib.decompress(self.sections["SOURCE_MAP"][offset : offset + length])
        assert len(raw) == raw_length
        return json.loads(raw)

    # Tables

    def found(self, section: str, text: bytes, *, first: int = 0, bits: int, seed: int, parent: int = 0) -> int | None:
        size = 1 << bits
        h = (xxhash.xxh64_intdigest(text) + parent * PHI) & MASK
        position = ((h ^ seed) * PHI & MASK) >> (64 - bits)
        for _ in range(size):
            entry = getattr(self, section)[first + position]
            if entry.target == 0xFFFF:
                return None
            same = entry.tag == h & 0xFFFFFFFF and entry.parent == parent
            if same and self.sections["TEXT"][entry.at : entry.at + entry.length] == text:
                return int(entry.target)
            position = (position + 1) % size
        raise AssertionError("a table without an empty entry")

    def flag_index(self, key: str) -> int | None:
        bits = len(self.FLAG_TABLE).bit_length() - 1
        return self.found("FLAG_TABLE", key.encode(), bits=bits, seed=self.header.flag_seed)

    def child(self, node: int, name: str) -> int | None:
        bits = len(self.NODE_TABLE).bit_length() - 1
        return self.found("NODE_TABLE", name.encode(), bits=bits, seed=self.header.node_seed, parent=node)

    # From values to classes to bits

    def class_of(self, slot: Any, value: Any, now: int) -> int:
        via, kind = VIAS[slot.via], reference.kind_of(value)
        key: tuple[Any, ...] | None = None
        if via == "NOW":
            key = (now * 1000 + 2**63, 0)
        elif via == "ID":
            text = reference.id_text(value)
            return int(slot.class_missing) if text is None else self.class_of_id(slot, text.encode())
        elif kind == "string" and via in ("VALUE", "LOWER"):
            text = reference.lower(value) if via == "LOWER" else value
            return self.class_of_text(slot, text.encode())
        elif via == "VALUE" and kind == "number":
            key = number_key(value)
        elif via == "VALUE":
            return int(getattr(slot, "class_" + (str(value).lower() if kind == "boolean" else kind)))
        elif via == "SIZE" and kind in ("string", "list", "object"):
            key = number_key(len(value))
        elif via == "SEMVER" and kind == "string" and (version := reference.read_version(value)):
            key = version_key(version)
        elif via == "TIMESTAMP" and (moment := reference.read_time(value)) is not None:
            key = (moment + 2**63, 0)
        elif via == "IP" and kind == "string" and (address := reference.read_address(value)) is not None:
            key = (address >> 64, address & MASK)
        return int(slot.class_missing) if key is None else self.class_of_key(slot, key)

    def class_of_text(self, slot: Any, text: bytes) -> int:
        if not slot.dictionary_bits:
            return int(slot.class_string)
        where: dict[str, Any] = {"first": slot.first_entry, "bits": slot.dictionary_bits, "seed": slot.dictionary_seed}
        found = self.found("DICTIONARY", text, **where)
        return int(slot.class_string) if found is None else found

    def class_of_id(self, slot: Any, text: bytes) -> int:
        table = self.ID_TABLES[slot.id_table]
        bucket = xxhash.xxh64_intdigest(text) >> (64 - table.bits)
        start, end = self.ID_STARTS[table.first_start + bucket : table.first_start + bucket + 2]
        tags = self.ID_TAGS[table.first_id + start : table.first_id + end]
        assert tags == sorted(tags)
        tag = xxhash.xxh64_intdigest(text, PHI)
        if tag not in tags:
            return int(slot.class_string)
        return int(self.ID_CLASSES[table.first_id + start + tags.index(tag)])

    def class_of_key(self, slot: Any, key: tuple[Any, ...]) -> int:
        points = [
            (point.hi, point.lo, *identifiers(self.text(point.at, point.length)))
            for point in self.POINTS[slot.first_point : slot.first_point + slot.point_count]
        ]
        assert points == sorted(set(points))
        below = sum(point < key for point in points)
        region = 2 * below + (key in points)
        return int(self.REGIONS[slot.first_region + region])

    def row(self, slot: Any, of_class: int) -> int:
        """As wide as the matrix; all ones where the slot asks nothing."""
        words = [MASK] * ((self.header.bit_count + 63) // 64)

        def dense(record: Any) -> None:
            words[slot.first_word : slot.first_word + slot.word_count] = self.ROWS[
                record.first : record.first + slot.word_count
            ]

        record = self.CLASS_ROWS[slot.first_row + of_class]
        if record.patches == 0xFFFFFFFF:
            dense(record)
        else:
            dense(self.CLASS_ROWS[slot.first_row + slot.class_default])
            for patch in self.PATCHES[record.first : record.first + record.patches]:
                words[patch.word] = patch.bits
        return sum(word << 64 * i for i, word in enumerate(words))

    def matrix(self, context: Mapping[str, Any], now: int = 0) -> int:
        """The conjunctions that the classes of the context leave standing."""
        result: int = (1 << self.header.bit_count) - 1
        for slot in self.SLOTS:
            value = reference.value_at(context, self.path(slot.node))
            result &= self.row(slot, self.class_of(slot, value, now))
        return result


def number_key(value: float) -> tuple[int, int]:
    (bits,) = struct.unpack("<Q", struct.pack("<d", float(value) or 0.0))
    return (bits ^ MASK if bits >> 63 else bits | 1 << 63), 0


def version_key(version: tuple[Any, ...]) -> tuple[Any, ...]:
    major, minor, patch, release, parts = version
    return (major << 32 | minor, patch << 32 | (2**32 - 1 if release else 0), *parts)


def identifiers(prerelease: str) -> list[tuple[int, int, str]]:
    version = reference.read_version(f"0.0.0-{prerelease}") if prerelease else None
    return list(version[4]) if version else []
