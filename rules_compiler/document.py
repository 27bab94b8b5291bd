"""The flag document as typed structs: what docs/flag-documents.md says, checked by msgspec in one pass.

    {"type": "boolean", "variants": {"on": true}, "fallthrough": "on"}

becomes `FlagDocument(type="boolean", variants={"on": Raw}, fallthrough="on", …)`. What types cannot say (names that
refer to something, weights that sum to 100) is checked in dialects/burgee. `json_schema()` is the published schema.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from rules_compiler import limits

FlagType = Literal["boolean", "string", "integer", "number", "object"]


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True, gc=False):
    """Base of all parts of a document: camelCase members, nothing unknown."""


class WeightDocument(Shape, frozen=True):
    variant: str
    weight: int | float  # percent


class SplitDocument(Shape, frozen=True):
    split: list[WeightDocument]
    by: str = "targetingKey"
    salt: str | None = None  # the flag's key


ServeDocument = str | SplitDocument | None


class RuleDocument(Shape, frozen=True):
    when: str
    serve: ServeDocument
    id: str | None = None  # rule-<n>, from 1
    name: str = ""


class PrerequisiteDocument(Shape, frozen=True):
    flag: str
    variants: list[str]


class FlagOverride(Shape, frozen=True):
    """What one environment replaces of a flag; a member left out is kept."""

    enabled: bool | UnsetType = UNSET
    off_variant: str | None | UnsetType = UNSET
    prerequisites: list[PrerequisiteDocument] | UnsetType = UNSET
    rules: list[RuleDocument] | UnsetType = UNSET
    fallthrough: ServeDocument | UnsetType = UNSET


class FlagDocument(Shape, frozen=True):
    type: FlagType
    variants: dict[str, Raw]
    description: str = ""
    owner: str = ""
    tags: list[str] = []
    client_visible: bool = False
    enabled: bool = True
    off_variant: str | None = None
    prerequisites: list[PrerequisiteDocument] = []
    rules: list[RuleDocument] = []
    fallthrough: ServeDocument = None
    environments: dict[str, FlagOverride] = {}


class SegmentOverride(Shape, frozen=True):
    """What one environment replaces of a segment; a member left out is kept."""

    include: list[str] | UnsetType = UNSET
    exclude: list[str] | UnsetType = UNSET
    when: str | None | UnsetType = UNSET


class SegmentDocument(Shape, frozen=True):
    description: str = ""
    when: str | None = None
    include: list[str] = []
    exclude: list[str] = []
    by: str = "targetingKey"
    environments: dict[str, SegmentOverride] = {}


class Document(Shape, frozen=True):
    schema: str | UnsetType = msgspec.field(name="$schema", default=UNSET)  # for editors; means nothing here
    environments: list[str] = msgspec.field(default_factory=lambda: ["default"])
    segments: dict[str, SegmentDocument] = {}
    flags: dict[str, FlagDocument] = {}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a document: msgspec's, made tighter by what JSON Schema can say and types cannot."""
    name = {"pattern": f"^{limits.NAME}$"}
    (_, definitions) = msgspec.json.schema_components((Document,), ref_template="#/$defs/{name}")

    def members(of: type[Shape]) -> dict[str, Any]:
        return definitions[of.__name__]["properties"]  # type: ignore[no-any-return]

    def override(of: type[Shape], like: type[Shape]) -> None:
        """An override's members are as tight as those they replace."""
        for member in members(of):
            members(of)[member] = {k: v for k, v in members(like)[member].items() if k != "default"}

    document, segment, flag = members(Document), members(SegmentDocument), members(FlagDocument)
    document["environments"].update(minItems=1, uniqueItems=True, default=["default"])
    document["environments"]["items"] |= name
    document["segments"].update(propertyNames=name, maxProperties=limits.SEGMENTS)
    document["flags"].update(propertyNames=name, maxProperties=limits.FLAGS)
    for list_of_ids in ("include", "exclude"):
        segment[list_of_ids]["maxItems"] = limits.IDS
    flag["variants"].update(propertyNames=name, minProperties=1, maxProperties=limits.VARIANTS)
    flag["environments"]["propertyNames"] = segment["environments"]["propertyNames"] = name
    flag["rules"]["maxItems"] = limits.RULES
    members(RuleDocument)["id"] = {"type": "string", **name, "description": "rule-<n>, from 1, where it is left out"}
    members(RuleDocument)["when"]["description"] = "a condition in CEL, see docs/semantics.md"
    members(PrerequisiteDocument)["variants"]["minItems"] = 1
    members(SplitDocument)["split"]["minItems"] = 1
    members(WeightDocument)["weight"] = {
        "type": "number",
        "minimum": 0,
        "maximum": 100,
        "description": "percent, at most three decimals; the weights of a split sum to 100",
    }
    definitions["FlagDocument"]["allOf"] = [
        {
            "if": {"properties": {"type": {"const": kind}}},
            "then": {"properties": {"variants": {"additionalProperties": values}}},
        }
        for kind, values in (
            ("boolean", {"type": "boolean"}),
            ("string", {"type": "string"}),
            ("integer", {"type": "integer", "minimum": -limits.EXACT_INTEGER, "maximum": limits.EXACT_INTEGER}),
            ("number", {"type": "number"}),
            ("object", {"type": ["object", "array"]}),
        )
    ]
    override(FlagOverride, FlagDocument)
    override(SegmentOverride, SegmentDocument)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **definitions.pop("Document"),
        "title": "Burgee flag document",
        "$defs": definitions,
    }
