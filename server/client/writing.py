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

Members stay in their order: the order of variants is part of what a document means.
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
_WIDTH = 120


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
    content = msgspec.to_builtins(document)
    as_json = msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
    if any(not each.isprintable() and each != "\n" for each in as_json.decode()):
        return as_json
    written: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return written.encode() if same_document(written.encode(), as_json) else as_json


def same_document(one: bytes, other: bytes) -> bool:
    """Do they say the same, in the same order? Comments and layout are not looked at."""
    first, second = pieces_of(one), pieces_of(other)
    return first is not None and first == second


def pieces_of(document: bytes) -> tuple[bytes | None, list[tuple[str, bytes]], list[tuple[str, bytes]]] | None:
    pieces = read(document, Report())
    if pieces is None:
        return None
    return pieces.environments, list(pieces.segments.items()), list(pieces.flags.items())
