"""From the bytes of a document (or a mapping) to the raw JSON of each flag and segment, still unparsed.

    {"flags": {"a": {"type": "boolean", …}, "b": …}}

becomes

    Pieces(environments=None, segments={}, flags={"a": b'{"type":"boolean",…}', "b": …}, line_of=…)

A document whose first character is `{` is JSON, read strictly; any other is YAML 1.2 (yaml_reader.py), turned into JSON
first. The pieces are compact, so that formatting is no change, and small: a flag that was seen before is recognised by
its bytes and never parsed again, which is why nothing here looks inside one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from rules_compiler import limits
from rules_compiler.diagnostics import Report, shown
from rules_compiler.yaml_reader import YamlError, json_value, lines_of_places

MEMBERS = ("$schema", "environments", "segments", "flags")


class Pieces(msgspec.Struct, frozen=True):
    environments: bytes | None  # compact JSON
    segments: dict[str, bytes]  # key -> compact JSON
    flags: dict[str, bytes]
    line_of: Callable[[str], int | None]  # of a place, in a YAML document; the line of what encloses it if it has none


class DuplicateMember(ValueError):
    """An object has two members of one name."""


def read(document: object, report: Report) -> Pieces | None:
    """None when the document cannot be taken apart; the report says why."""
    compact = _compact_json(document, report)
    if compact is None:
        return None
    try:
        top = members(compact)
    except DuplicateMember as error:
        report.error("B105", "", f"the member {shown(str(error))} is there twice", hint="keep one of them")
        return None
    except msgspec.ValidationError:
        report.error("B109", "", "a document is an object with `flags`", hint="see docs/flag-documents.md")
        return None
    for name in (each for each in top if each not in MEMBERS):
        hint = "a document has `environments`, `segments`, `flags`"
        report.error("B107", "", f"unknown member {shown(name)}", hint=hint)
    if "$schema" in top and not top["$schema"].startswith(b'"'):
        report.error("B109", "$schema", "must be text", hint="it names the JSON Schema, for editors")
    pieces = {name: _pieces(top.get(name, b"{}"), name, report) for name in ("segments", "flags")}
    lines: dict[str, int] | None = None

    def line_of(place: str) -> int | None:
        nonlocal lines
        if not isinstance(document, bytes) or looks_like_json(document):
            return None
        if lines is None:
            lines = lines_of_places(document)
        while place and place not in lines:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return lines.get(place)

    return Pieces(top.get("environments"), pieces["segments"], pieces["flags"], line_of)


def looks_like_json(document: bytes) -> bool:
    return document.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")[:1] == b"{"


def members(compact: bytes) -> dict[str, bytes]:
    """The members of an object in compact JSON, each value as its compact JSON.

    Raises DuplicateMember, and msgspec.ValidationError where it is not an object.
    """
    values = {name: bytes(raw) for name, raw in _MEMBERS.decode(compact).items()}
    # INVARIANT: `"name":value,` for each member and two braces, one comma fewer, is all there is to the text. It is
    # shorter only if a member was dropped for its double, or if a name is not plain ASCII; then look closely.
    if sum(map(len, values)) + sum(map(len, values.values())) + 4 * len(values) + 2 - bool(values) != len(compact):
        outermost: list[tuple[str, Any]] = []

        def keep(pairs: list[tuple[str, Any]]) -> None:
            outermost[:] = pairs

        json.loads(compact, object_pairs_hook=keep)
        _refuse_doubles(outermost)
    return values


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def strict_value(compact: bytes) -> Any:
    """The value of compact JSON, with a duplicate member anywhere refused.

    Raises DuplicateMember, msgspec.DecodeError (text, numbers out of range) and RecursionError.
    """
    msgspec.json.decode(compact)  # stricter than json: lone surrogates, 1e999
    return json.loads(compact, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        _refuse_doubles(pairs)
    return value


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise DuplicateMember(name)
        seen.add(name)


def _pieces(compact: bytes, name: str, report: Report) -> dict[str, bytes]:
    try:
        return members(compact)
    except DuplicateMember as error:
        report.error("B105", name, f"the member {shown(str(error))} is there twice", hint="keep one of them")
    except msgspec.ValidationError:
        report.error("B109", name, "must be an object, of names and what they stand for")
    except msgspec.DecodeError as error:
        report.error("B102", name, f"not JSON: {error}")
    return {}


def _compact_json(document: object, report: Report) -> bytes | None:
    if isinstance(document, Mapping):
        return _json_of_mapping(document, report)
    if not isinstance(document, bytes):
        kind = type(document).__name__
        report.error("B101", "", f"a document is bytes or a mapping, not {shown(kind)}", hint="encode text as UTF-8")
        return None
    if len(document) > limits.DOCUMENT_BYTES:
        report.error("B501", "", f"the document has {len(document)} bytes; at most {limits.DOCUMENT_BYTES} are allowed")
        return None
    try:
        text = document.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        report.error("B101", "", f"the document is not UTF-8: byte {error.start} cannot be decoded")
        return None
    if looks_like_json(document):
        return _format(text.encode("utf-8"), report)
    try:
        value = json_value(text)
    except YamlError as error:
        report.error(error.code, "", f"line {error.line}: {error}" if error.line else str(error), hint=error.hint)
        return None
    return _encode(value, report)


def _json_of_mapping(document: Mapping[Any, Any], report: Report) -> bytes | None:
    try:
        return _encode(dict(document), report)
    except Exception as error:  # whatever a foreign mapping raises when it is looked at
        report.error("B101", "", f"the mapping cannot be read: {type(error).__name__}")
        return None


def _size(value: Any, known: dict[int, int]) -> int:
    """About how many bytes of JSON a value comes to; a part that is shared counts each time, and is looked at once."""
    if isinstance(value, str):
        return len(value) + 2
    if not isinstance(value, Mapping | list | tuple):
        return 1
    size = known.get(id(value))
    if size is None:
        if isinstance(value, Mapping):
            size = 2 + sum(len(name) + 4 if isinstance(name, str) else 4 for name in value)
            size += sum(_size(each, known) for each in value.values())
        else:
            size = 2 + sum(_size(each, known) for each in value)
        known[id(value)] = size
    return size


def _encode(value: Any, report: Report) -> bytes | None:
    try:
        size = _size(value, {})
        if size > limits.DOCUMENT_BYTES:
            report.error("B501", "", f"the document has {size} bytes; at most {limits.DOCUMENT_BYTES} are allowed")
            return None
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain)
        return _format(text.encode("utf-8"), report)
    except RecursionError:
        report.error("B106", "", "the document is nested too deeply, or contains itself")
    except UnicodeEncodeError:
        report.error("B101", "", "a text of the document has a lone surrogate, so it has no UTF-8 form")
    except (TypeError, ValueError) as error:
        report.error("B101", "", f"the document has no JSON form: {error}")
    return None


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type `{type(value).__name__}`")


def _format(text: bytes, report: Report) -> bytes | None:
    """Compact JSON text, or a diagnostic with the line and the column of the error."""
    try:
        compact: bytes = msgspec.json.format(text, indent=-1)
        return compact
    except RecursionError:
        hint = f"a value may be {limits.VALUE_DEPTH} levels deep"
        report.error("B106", "", "the document is nested too deeply", hint=hint)
    except msgspec.DecodeError as error:
        report.error("B102", "", _with_line(str(error), text), hint="a document that begins with `{` is read as JSON")
    return None


def _with_line(message: str, text: bytes) -> str:
    """`JSON is malformed: invalid character (byte 6)` -> `not JSON: invalid character (line 1, column 7)`."""
    message = message.removeprefix("JSON is malformed: ")
    head, found, tail = message.rpartition(" (byte ")
    if not found:
        return "not JSON: the document ends too early" if "truncated" in message else f"not JSON: {message}"
    before = text[: int(tail.rstrip(")"))]
    line = before.count(b"\n") + 1
    column = len(before) - before.rfind(b"\n")
    return f"not JSON: {head} (line {line}, column {column})"
