"""The raw JSON of a part of a document -> its typed struct, or every place where it does not have that shape.

    {"type": "bool", "rulse": []}

gives

    flags.a: unknown member `rulse` (hint: did you mean `rules`?)
    flags.a: the member `variants` is missing
    flags.a.type: must be one of `boolean`, `integer`, …, not `"bool"`

msgspec checks the whole in one pass and stops at its first error; only then is the part taken to pieces here.
"""

from __future__ import annotations

import types
import typing
from typing import Any, Final, Literal, TypeVar, get_origin

import msgspec

from rules_compiler.diagnostics import Report, shown
from rules_compiler.dialects.burgee.scope import like
from rules_compiler.reading import DuplicateMember, strict_value

Shaped = TypeVar("Shaped")

_MOST: Final = 100  # errors of one part: enough to work on
_PLAIN: Final[dict[Any, str]] = {
    str: "text",
    bool: "`true` or `false`",
    int: "a number",
    float: "a number",
    type(None): "`null`",
}


def read_shape(raw: bytes, shape: type[Shaped], place: str, report: Report) -> Shaped | None:
    """Its errors are in the report. None when there is nothing to go on with; unknown members are left out for that."""
    value = None
    try:
        value = strict_value(raw)
        return msgspec.json.decode(raw, type=shape)
    except DuplicateMember as error:
        report.error("B105", place, f"the member {shown(str(error))} is there twice", hint="keep one of them")
    except RecursionError:
        report.error("B106", place, "nested too deeply")
    except msgspec.ValidationError:
        found = Report()
        _explain(raw, shape, place, found)
        if not found.has_errors:
            found.error("B109", place, "a number is out of range", hint="quote it if it is text")
        report.extend(found.diagnostics)
        if value is not None and all(each.code == "B107" for each in found.diagnostics):
            return msgspec.json.decode(msgspec.json.encode(_known(value, shape)), type=shape)
    except ValueError as error:  # text that is not Unicode, integers of thousands of digits
        report.error("B102", place, f"not JSON: {error}")
    return None


def _known(value: Any, shape: Any) -> Any:
    """A value without the members that its shape does not know."""
    inside = typing.get_args(shape)
    if isinstance(shape, types.UnionType):
        fitting = [each for each in inside if _is_struct(each)] if isinstance(value, dict) else []
        fitting += [each for each in inside if get_origin(each) is list] if isinstance(value, list) else []
        return _known(value, fitting[0]) if fitting else value
    if _is_struct(shape):
        types_of = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}
        return {name: _known(each, types_of[name]) for name, each in value.items() if name in types_of}
    if get_origin(shape) is list:
        return [_known(each, inside[0]) for each in value]
    if get_origin(shape) is dict:
        return {name: _known(each, inside[1]) for name, each in value.items()}
    return value


def _is_struct(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, msgspec.Struct)


def _explain(raw: bytes, shape: Any, place: str, report: Report) -> None:
    if shape is msgspec.Raw:
        return
    first = raw[:1]
    inside = typing.get_args(shape)
    if isinstance(shape, types.UnionType):
        _explain_union(raw, inside, place, report)
    elif _is_struct(shape):
        if first == b"{":
            _explain_struct(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]), shape, place, report)
        else:
            _mismatch("an object", raw, place, report)
    elif get_origin(shape) is list:
        if first == b"[":
            for index, item in enumerate(msgspec.json.decode(raw, type=list[msgspec.Raw])):
                if len(report) >= _MOST:
                    break
                _explain(bytes(item), inside[0], f"{place}[{index}]", report)
        else:
            _mismatch("a list", raw, place, report)
    elif get_origin(shape) is dict:
        if first == b"{":
            for name, item in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items():
                _explain(bytes(item), inside[1], f"{place}.{name}", report)
        else:
            _mismatch("an object, of names and what they stand for", raw, place, report)
    else:
        try:
            msgspec.json.decode(raw, type=shape)
        except msgspec.ValidationError:
            choices = " or ".join(f"`{each}`" for each in inside)
            _mismatch(choices if get_origin(shape) is Literal else _PLAIN[shape], raw, place, report)


def _explain_union(raw: bytes, shapes: tuple[Any, ...], place: str, report: Report) -> None:
    """The struct of the union where there is an object, the list where there is a list, else one of the plain types."""
    shapes = tuple(each for each in shapes if each is not msgspec.UnsetType)
    for each in shapes:
        if (raw[:1] == b"{" and _is_struct(each)) or (raw[:1] == b"[" and get_origin(each) is list):
            return _explain(raw, each, place, report)
    try:
        msgspec.json.decode(raw, type=typing.Union[shapes])  # noqa: UP007  # of a tuple
    except msgspec.ValidationError:
        words = dict.fromkeys(
            "a list" if get_origin(each) is list else _PLAIN.get(each, "an object") for each in shapes
        )
        _mismatch(" or ".join(words), raw, place, report)
    return None


def _explain_struct(members: dict[str, msgspec.Raw], shape: type[msgspec.Struct], place: str, report: Report) -> None:
    known = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    for name in members:
        if name not in known:
            hint = like(name, known) or f"it may have {', '.join(f'`{each}`' for each in known)}"
            report.error("B107", place, f"unknown member {shown(name)}", hint=hint)
    for name, field in known.items():
        if name in members:
            _explain(bytes(members[name]), field.type, f"{place}.{name}", report)
        elif field.required:
            report.error("B108", place, f"the member `{name}` is missing", hint=_HINTS.get(name, ""))


_HINTS: Final = {
    "serve": "a variant, a split, or `null` for the caller's own default",
    "when": "a condition; `true` always matches",
    "type": "boolean, string, integer, number or object",
    "variants": "names and the values they stand for",
    "weight": "percent",
}


def _mismatch(wanted: str, raw: bytes, place: str, report: Report) -> None:
    text = raw[:200].decode("utf-8", "replace")
    hint = "quote it" if wanted == "text" and raw[:1] not in b"{[" else ""
    report.error("B109", place, f"must be {wanted}, not {shown(text)}", hint=hint)
