"""The OpenFeature JavaScript server SDK with its OFREP provider, in Node, against a real server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.clients.flags import CONTEXT, READS, Read
from tests.server.running import Running

HERE = Path(__file__).resolve().parent


def details_of(installed: Path, served: tuple[Running, str], reads: tuple[Read, ...], context: Any) -> dict[str, Any]:
    server, key = served
    asked = {"url": server.data, "key": key, "context": context, "reads": [list(read[:3]) for read in reads]}
    command = ["node", str(HERE / "read_flags.mjs"), json.dumps(asked)]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    details: dict[str, Any] = json.loads(done.stdout)
    return details


def test_each_type(installed: Path, served: tuple[Running, str]) -> None:
    good = tuple(read for read in READS if read.error_code != "TYPE_MISMATCH")
    details = details_of(installed, served, good, CONTEXT)
    for read in good:
        found = details[read.flag]
        assert (found["value"], found.get("variant"), found["reason"]) == (read.value, read.variant, read.reason)
        assert found.get("errorCode") == read.error_code
        if read.error_code is None:
            assert found["flagMetadata"]["flagSetId"] == "acme/app/default"


def test_another_type_gives_the_default(installed: Path, served: tuple[Running, str]) -> None:
    [mismatch] = (read for read in READS if read.error_code == "TYPE_MISMATCH")
    found = details_of(installed, served, (mismatch,), CONTEXT)["string"]
    assert (found["value"], found["errorCode"]) == (True, "TYPE_MISMATCH")


def test_a_split_needs_a_targeting_key(installed: Path, served: tuple[Running, str]) -> None:
    read = Read("split", "String", "?", "?", None, "ERROR")
    assert details_of(installed, served, (read,), {})["split"]["errorCode"] == "TARGETING_KEY_MISSING"
    assert details_of(installed, served, (read,), CONTEXT)["split"]["value"] in ("a", "b")
