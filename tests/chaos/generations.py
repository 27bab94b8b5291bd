"""What publish n looks like: 200 flags, a segment and a chain of prerequisites that all say n.

    document_of(17)                 the flag document of generation 17
    asked()                         the body of the batch that callers send, again and again
    seen_in(body)                   Seen(generation=17, version=17): or Torn("flags of 16 and 17")

Each way in which a host could mix two versions shows: a flag of another generation, a segment's flag that disagrees,
and a chain whose links want the variant of their own generation, so that with any other it is broken.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

FLAGS = 200
CHAIN = 12
EVERYBODY = {"targetingKey": "everybody"}


@dataclass(frozen=True)
class Seen:
    generation: int
    version: int


@dataclass(frozen=True)
class Torn:
    why: str


def document_of(generation: int) -> dict[str, Any]:
    flags: dict[str, Any] = {
        f"plain-{i}": {"type": "integer", "variants": {"v": generation}, "fallthrough": "v"} for i in range(FLAGS)
    }
    flags["segment"] = {
        "type": "integer",
        "variants": {"in": generation, "out": -1},
        "rules": [{"when": 'segment("now")', "serve": "in"}],
        "fallthrough": "out",
    }
    name = f"v{generation}"
    for i in range(CHAIN):
        flags[f"chain-{i}"] = {
            "type": "integer",
            "variants": {name: generation, "broken": -1},
            "offVariant": "broken",
            "fallthrough": name,
        }
        if i:
            flags[f"chain-{i}"]["prerequisites"] = [{"flag": f"chain-{i - 1}", "variants": [name]}]
    segments = {"now": {"include": ["everybody"], "when": f"generation == {generation}"}}
    return {"environments": ["production"], "segments": segments, "flags": flags}


def asked(likely: int) -> bytes:
    """`likely` is a generation that may be served: its second context is in the segment by the rule, not by its id."""
    return json.dumps({"contexts": [EVERYBODY, {"targetingKey": "other", "generation": likely}]}).encode()


def seen_in(body: bytes, likely: int) -> Seen | Torn:
    answer = json.loads(body)
    everybody, other = ({each["key"]: each.get("value") for each in one["flags"]} for one in answer["results"])
    if len(everybody) != FLAGS + CHAIN + 1:
        return Torn(f"{len(everybody)} flags")
    values = set(everybody.values()) | {value for key, value in other.items() if key != "segment"}
    if len(values) != 1:
        return Torn(f"values {sorted(values, key=str)[:5]}")
    generation = values.pop()
    if not isinstance(generation, int) or generation < 0:
        return Torn(f"value {generation}")
    expected = generation if generation == likely else -1
    if other["segment"] != expected:
        return Torn(f"the segment of another generation than {generation}: {other['segment']}, asked as {likely}")
    return Seen(generation, int(answer["metadata"]["version"]))
