"""YAML 1.2 (core schema) into plain JSON values, from libyaml's events.

    on: yes
    ratio: 0.5

becomes `{"on": "yes", "ratio": 0.5}`: none of YAML 1.1's surprises (`on`, `no`, `1:30`, `2026-01-01` are strings), no
tags, no `<<`, no second member of one name, and no alias that makes a small text a large document.

It works on events with a stack of its own, so that depth costs memory and never the C stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from rules_compiler import limits
from rules_compiler.diagnostics import shown

_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEAN: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INTEGER_DIGITS: Final = 400  # longer ones overflow a 64-bit float anyway

_DEPTH: Final = 200  # far above any document; keeps the JSON encoder from recursing without end


class YamlError(Exception):
    """What is wrong with a YAML document, with its line (from 1)."""

    def __init__(self, code: str, message: str, line: int | None, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.line = line
        self.hint = hint


class _Open:
    """A mapping or a list whose end has not been seen. `size` counts what it comes to with its aliases written out."""

    __slots__ = ("anchor", "key", "size", "value")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str) -> None:
        self.value = value
        self.anchor = anchor
        self.key: str | None = None  # of the member whose value comes next
        self.size = 2


def json_value(text: str) -> Any:
    """The value of the one document in the text. Raises YamlError."""
    anchored: dict[str, tuple[Any, int]] = {}
    stack: list[_Open] = []
    result: Any = None
    documents = 0
    most = limits.ALIAS_GROWTH * max(len(text), 1)
    aliased = 0
    for event in _events(text):
        line = _line(event)
        anchor: str = getattr(event, "anchor", None) or ""
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            _refuse_tag(event, line)
            top = stack[-1] if stack else None
            if top is not None and isinstance(top.value, dict) and top.key is None:
                top.key = _key(event, top.value, line)
                top.size += len(top.key) + 4
                if anchor:
                    anchored[anchor] = (top.key, len(top.key))
                continue
            value, size = _scalar(event, line), len(event.value) + 2
        elif isinstance(event, yaml.AliasEvent):
            if anchor not in anchored:
                raise YamlError("B103", f"the alias `*{anchor}` stands for nothing, or for what it is in", line)
            value, size = anchored[anchor]
            aliased += size
            if aliased > most:
                raise YamlError(
                    "B104",
                    f"aliases make the document more than {limits.ALIAS_GROWTH} times its written size",
                    line,
                    "use a segment for what many rules share",
                )
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            _refuse_tag(event, line)
            if stack and isinstance(stack[-1].value, dict) and stack[-1].key is None:
                raise YamlError("B104", "a name in a mapping must be text, not a mapping or a list", line)
            if len(stack) == _DEPTH:
                raise YamlError("B106", f"the document is nested more than {_DEPTH} levels deep", line)
            stack.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else [], anchor))
            continue
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            closed = stack.pop()
            value, size, anchor = closed.value, closed.size, closed.anchor
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise YamlError("B104", "there is a second document", line, "one file holds one flag document")
            continue
        else:
            continue
        if anchor and not isinstance(event, yaml.AliasEvent):
            anchored[anchor] = (value, size)
        if not stack:
            result = value
            continue
        top = stack[-1]
        top.size += size
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is None:  # an alias in the place of a name
            raise YamlError("B104", "a name in a mapping must be written out, not an alias", line)
        else:
            top.value[top.key] = value
            top.key = None
    return result


def lines_of_places(document: bytes) -> dict[str, int]:
    """`flags.checkout.rules[2].when` -> the line (from 1) where it is. For a document that json_value accepted."""
    lines: dict[str, int] = {}
    stack: list[list[Any]] = []  # [place, index of the next element or None in a mapping, key or None]
    for event in _events(document.decode("utf-8").removeprefix("\ufeff")):
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            stack.pop()
        elif not isinstance(event, yaml.NodeEvent):
            continue
        line = _line(event)
        place = ""
        if stack and not isinstance(event, yaml.CollectionEndEvent):
            top = stack[-1]
            if top[1] is not None:
                place = f"{top[0]}[{top[1]}]"
                top[1] += 1
            elif top[2] is None:
                key: Any = getattr(event, "value", "")
                lines[f"{top[0]}.{key}" if top[0] else key] = line
                top[2] = key
                continue
            else:
                place = f"{top[0]}.{top[2]}" if top[0] else top[2]
                top[2] = None
            lines.setdefault(place, line)
        if isinstance(event, yaml.CollectionStartEvent):
            stack.append([place, 0 if isinstance(event, yaml.SequenceStartEvent) else None, None])
    return lines


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        problem = error.problem or "it cannot be read"
        raise YamlError("B103", f"not YAML: {problem}", mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", "it cannot be read")
        raise YamlError("B103", f"not YAML: {reason}", None) from None


def _refuse_tag(event: Any, line: int) -> None:
    if event.tag is not None:
        hint = "leave it out; quote what must be text"
        raise YamlError("B104", f"tags such as {shown(event.tag)} are not read", line, hint)


def _key(event: Any, among: dict[str, Any], line: int) -> str:
    key: str = event.value
    if key == "<<" and event.implicit[0]:
        raise YamlError("B104", "`<<` is not part of YAML 1.2", line, "write the members out, or use a segment")
    if key in among:
        raise YamlError("B105", f"the member {shown(key)} is there twice", line, "keep one of them")
    return key


def _scalar(event: Any, line: int) -> Any:
    text: str = event.value
    if not event.implicit[0]:  # quoted, or a block
        return text
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _NOT_FINITE.fullmatch(text):
        raise YamlError("B104", f"{shown(text)} is not a number that JSON has", line, "quote it if it is text")
    if _INTEGER.fullmatch(text):
        if len(text) > _INTEGER_DIGITS:
            raise YamlError("B104", f"the number {shown(text)} is too large", line, "quote it if it is text")
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise YamlError("B104", f"the number {shown(text)} is too large", line, "quote it if it is text")
        return number
    return text
