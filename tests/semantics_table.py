"""tests/spec/semantics.json: every row of docs/semantics.md as condition, context, truth.

    {"when": "a == 1", "cases": [[{"a": 1.0}, true], [{"a": "1"}, null], …]}

becomes one flag per condition, with a rule for true and a rule for false, so that its variant says which:

    {"rules": [{"when": "a == 1", "serve": "true"}, {"when": "!(a == 1)", "serve": "false"}], "fallthrough": "unknown"}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPEC: dict[str, Any] = json.loads((Path(__file__).parent / "spec" / "semantics.json").read_text("utf-8"))
TRUTHS = {True: "true", False: "false", None: "unknown"}


@dataclass(frozen=True)
class Row:
    about: str
    when: str
    flag: str  # its key in `document()`
    context: dict[str, Any]
    now: int
    truth: bool | None


def truth_flag(when: str) -> dict[str, Any]:
    return {
        "type": "string",
        "variants": {name: name for name in TRUTHS.values()},
        "rules": [{"when": when, "serve": "true"}, {"when": f"!({when})", "serve": "false"}],
        "fallthrough": "unknown",
    }


def rows() -> Iterator[Row]:
    numbered = ((group["about"], each) for group in SPEC["groups"] for each in group["conditions"])
    for number, (about, each) in enumerate(numbered):
        for context, truth, *now in each["cases"]:
            at = now[0] if now else SPEC["now"]
            yield Row(about, each["when"], f"condition-{number}", context, at, truth)


def document() -> dict[str, Any]:
    flags = {row.flag: truth_flag(row.when) for row in rows()}
    return {"segments": SPEC["segments"], "flags": {**SPEC["flags"], **flags}}
