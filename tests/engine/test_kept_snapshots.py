"""Snapshots written by earlier builds load for ever, and answer as they did, or are refused by name.

tests/spec/snapshots/v<format>-<name>.burgee is a snapshot as that build wrote it; the .json beside it holds requests
and the answers it gave. Files are only ever added: `python -m tests.engine.test_kept_snapshots NAME` writes a pair.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from engine import Snapshot
from rules_compiler import compile_flags
from tests.engine.environments import EVERYTHING
from tests.engine.test_verifier import CONTEXTS

FOLDER = Path(__file__).parent.parent / "spec" / "snapshots"
KEPT = sorted(FOLDER.glob("*.burgee"))
NOW = 1_800_000_000_000


def answers(snapshot: Snapshot) -> list[dict[str, object]]:
    bodies = [json.dumps({"context": context}) for context in CONTEXTS]
    return [{"body": body, "answer": json.loads(snapshot.evaluate_json(body.encode(), now=NOW))} for body in bodies]


def test_there_is_one_of_this_format() -> None:
    assert any(path.name.startswith("v1-") for path in KEPT)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept(path: Path) -> None:
    snapshot = Snapshot.map(path)
    for case in json.loads(path.with_suffix(".json").read_text()):
        assert json.loads(snapshot.evaluate_json(case["body"].encode(), now=NOW)) == case["answer"]
    assert snapshot.explain("checkout", CONTEXTS[1], now=NOW) is not None
    assert snapshot.describe()["version"] == 17


def write(name: str) -> None:
    path = FOLDER / f"v1-{name}.burgee"
    if path.exists():
        raise SystemExit(f"{path} exists: kept snapshots are never changed")
    path.write_bytes(compile_flags(EVERYTHING, version=17, flag_set_id="acme/shop/production"))
    path.with_suffix(".json").write_text(json.dumps(answers(Snapshot.map(path)), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write(sys.argv[1])
