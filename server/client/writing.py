"""A flag document as YAML that people read and edit, and that our reader takes for the same document.

    {"flags": {"a": {"type": "boolean", "variants": {"on": true}, "rules": [{"when": "c == \\"x\\"", …}]}}}

becomes

    flags:
      a:
        type: boolean
        variants:
          'on': true
        rules:
        - when: 'c == "x"'

Members come in the order of docs/flag-documents.md; their order means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from rules_compiler.diagnostics import Report
from rules_compiler.reading import read

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_/-]*(?:[ .][A-Za-z0-9_/-]+)*")
_NOT_TEXT = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))  # in YAML 1.1 or 1.2, in any case
_WIDTH = 1000  # a condition is not folded

# As docs/flag-documents.md has them; names that are not here, as those of variants, stay as they come.
_ORDER = {
    name: place
    for place, name in enumerate(
        (
            *("environments", "segments", "flags"),
            *("type", "description", "owner", "tags", "clientVisible", "variants", "enabled", "offVariant"),
            *("prerequisites", "rules", "fallthrough"),
            *("include", "exclude", "by", "when"),
        )
    )
}


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    """Plain only where every reader of YAML sees text."""
    plain = _PLAIN.fullmatch(value) is not None and value.lower() not in _NOT_TEXT
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else "'")


_Dumper.add_representer(str, _text)


def document_text(document: Mapping[str, Any]) -> bytes:
    """YAML; JSON, which a file of YAML may hold as well, where YAML would not be read as the same."""
    as_json = document_json(document)
    if any(not each.isprintable() and each != "\n" for each in as_json.decode()):
        return as_json
    written: str = yaml.dump(_ordered(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return written.encode() if same_document(written.encode(), as_json) else as_json


def document_json(document: Mapping[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(_ordered(document)), indent=2) + b"\n"


def same_document(one: bytes, other: bytes) -> bool:
    """Do they say the same? Comments, layout and the order of members are not looked at."""
    first, second = _canonical(one), _canonical(other)
    return first is not None and first == second


def _canonical(document: bytes) -> bytes | None:
    pieces = read(document, Report())
    if pieces is None:
        return None
    segments, flags = (
        {key: msgspec.json.decode(each) for key, each in part.items()} for part in (pieces.segments, pieces.flags)
    )
    environments = msgspec.json.decode(pieces.environments) if pieces.environments is not None else ["default"]
    return msgspec.json.encode((environments, segments, flags), order="deterministic")


def _ordered(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {key: _members(body) for key, body in sorted(part.items())} if name in ("segments", "flags") else part
        for name, part in sorted(document.items(), key=lambda each: _ORDER.get(each[0], 0))
    }


def _members(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Of a flag or a segment: what is for single environments comes last."""
    known = {name: value for name, value in definition.items() if name != "environments"}
    own = dict(sorted(known.items(), key=lambda each: _ORDER.get(each[0], len(_ORDER))))
    if "rules" in own:
        own["rules"] = [_rule(each) for each in own["rules"]]
    if "environments" in definition:
        own["environments"] = {name: _members(each) for name, each in definition["environments"].items()}
    return own


def _rule(rule: Any) -> Any:
    order = ("id", "name", "when", "serve")
    return dict(sorted(rule.items(), key=lambda each: order.index(each[0]) if each[0] in order else len(order)))


def definition_text(definition: Mapping[str, Any]) -> str:
    """One flag or segment, as YAML."""
    text: str = yaml.dump(_members(definition), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return text
