"""What both clients read: a document with a flag of every type, and what each read must give."""

from __future__ import annotations

from typing import Any, NamedTuple

CONTEXT = {"targetingKey": "u-1", "country": "DE", "app": {"version": "2.4.0"}, "tags": ["a", "b"]}

DOCUMENT = """
flags:
  boolean: {type: boolean, variants: {"on": true, "off": false}, fallthrough: "on"}
  string:
    type: string
    variants: {old: old, new: "n\\u00e9w \\"v2\\""}
    rules: [{when: 'country == "DE" && semver(app.version) >= semver("2.4")', serve: new}]
    fallthrough: old
  integer:
    type: integer
    variants: {big: 9007199254740991, small: -7}
    rules: [{when: '"a" in tags', serve: big}]
    fallthrough: small
  number: {type: number, variants: {half: 0.5, whole: 2.0}, fallthrough: half}
  object:
    type: object
    variants: {deep: {a: [1, {b: null, c: "x"}], d: 0.25}, none: {}}
    rules: [{when: 'has(targetingKey)', serve: {split: [{variant: deep, weight: 100}]}}]
    fallthrough: none
  list: {type: object, variants: {some: [1, 2, 3]}, fallthrough: some}
  split:
    type: string
    variants: {a: a, b: b}
    fallthrough: {split: [{variant: a, weight: 50}, {variant: b, weight: 50}]}
  disabled: {type: boolean, enabled: false, variants: {"on": true, "off": false}, offVariant: "off", fallthrough: "on"}
"""


class Read(NamedTuple):
    flag: str
    type: str  # as the JavaScript SDK names it; Number is told apart in Python by the default
    default: Any
    value: Any
    variant: str | None
    reason: str
    error_code: str | None = None


READS = (
    Read("boolean", "Boolean", False, True, "on", "STATIC"),
    Read("string", "String", "?", 'n\u00e9w "v2"', "new", "TARGETING_MATCH"),
    Read("integer", "Number", 0, 9007199254740991, "big", "TARGETING_MATCH"),
    Read("number", "Number", 0.0, 0.5, "half", "STATIC"),
    Read("object", "Object", {}, {"a": [1, {"b": None, "c": "x"}], "d": 0.25}, "deep", "SPLIT"),
    Read("list", "Object", [], [1, 2, 3], "some", "STATIC"),
    Read("disabled", "Boolean", True, False, "off", "DISABLED"),
    Read("missing", "Boolean", True, True, None, "ERROR", "FLAG_NOT_FOUND"),
    Read("string", "Boolean", True, True, None, "ERROR", "TYPE_MISMATCH"),
)
