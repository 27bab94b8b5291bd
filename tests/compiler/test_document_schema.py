"""docs/flag-document.schema.json is what `json_schema()` gives: `pytest --update-golden` writes it."""

from __future__ import annotations

import json
from pathlib import Path

from rules_compiler.document import json_schema

FILE = Path(__file__).parents[2] / "docs" / "flag-document.schema.json"


def test_the_published_schema(update_golden: bool) -> None:
    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if update_golden:
        FILE.write_text(text)
    assert FILE.read_text() == text
