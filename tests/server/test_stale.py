"""Answers say STALE when nothing has confirmed them for longer than --max-age, until something does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.files import write_atomically
from tests.server.conftest import add_key
from tests.server.running import BATCH, BULK, Reply, Running, running, until
from tests.server.test_events import document

CONTEXT: Any = {"context": {"targetingKey": "u-1"}}
GROUPS: Any = {"groups": [{"environment": "acme/app/default", "contexts": [{}]}]}
BROKEN = b"flags: {f: {type: nonsense}}"
PATHS = {"front": {}, "aiohttp": {"TE": "x"}}


@pytest.fixture
def key(tenants: Path) -> str:
    (tenants / "acme" / "app.yaml").write_bytes(document("one"))
    return add_key(tenants)


@pytest.fixture
def server(key: str, tenants: Path) -> Iterator[Running]:
    with running(tenants, "--max-age", "1.5") as started:
        until(lambda: started.post(BULK, CONTEXT, key=key).status == 200)
        yield started


def single(server: Running, key: str, **headers: str) -> Any:
    return server.post(f"{BULK}/f", CONTEXT, key=key, headers=headers).json


def all_say(server: Running, key: str, reason: str) -> bool:
    """Every kind of answer, by both paths."""
    found = []
    for headers in PATHS.values():
        bulk = server.post(BULK, CONTEXT, key=key, headers=headers).json
        batch = server.post(BATCH, {"contexts": [{}]}, key=key, headers=headers).json
        [group] = server.post(BATCH, GROUPS, key=key, headers=headers).json["groups"]
        flags = [bulk["flags"][0], batch["results"][0]["flags"][0], group["results"][0]["flags"][0]]
        found += [each["reason"] for each in (*flags, single(server, key, **headers))]
        metadata = [each["metadata"] for each in (bulk, batch, group)]
        found += ["STALE" if "ageSeconds" in each else "STATIC" for each in metadata]
        assert {each["value"] for each in flags} == {"one"}
    return set(found) == {reason}


def test_a_broken_document_makes_answers_stale(server: Running, key: str, tenants: Path) -> None:
    assert all_say(server, key, "STATIC")
    fresh = server.post(BULK, CONTEXT, key=key)
    write_atomically(tenants / "acme" / "app.yaml", BROKEN)
    until(lambda: all_say(server, key, "STALE"))
    stale: Reply = server.post(BULK, CONTEXT, key=key, headers={"If-None-Match": fresh.headers["etag"]})
    assert stale.status == 200  # its entity tag is another
    assert stale.json["metadata"]["ageSeconds"] >= 1
    assert int(stale.headers["burgee-age"]) >= 1
    again = server.post(BULK, CONTEXT, key=key, headers={"If-None-Match": stale.headers["etag"]})
    assert again.status == 304
    assert server.manage("/readyz").status == 200
    write_atomically(tenants / "acme" / "app.yaml", document("one") + b"# mended\n")
    until(lambda: all_say(server, key, "STATIC"))


def test_an_agent_that_does_nothing_makes_answers_stale(server: Running, key: str) -> None:
    children = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(server.process.pid)], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 1) for line in children.stdout.splitlines()]
    [agent] = [int(pid) for pid, name in rows if name.strip() == "burgee-agent"]
    server.process.send_signal(signal.SIGSTOP)  # else it would replace the agent
    os.kill(agent, signal.SIGSTOP)
    try:
        until(lambda: all_say(server, key, "STALE"))
    finally:
        os.kill(agent, signal.SIGCONT)
        server.process.send_signal(signal.SIGCONT)
    until(lambda: all_say(server, key, "STATIC"))


def test_never_by_default(key: str, tenants: Path) -> None:
    with running(tenants) as server:
        until(lambda: server.post(BULK, CONTEXT, key=key).status == 200)
        write_atomically(tenants / "acme" / "app.yaml", BROKEN)
        until(lambda: server.status_of("acme/app/default")["state"] == "stale")
        until(lambda: int(server.post(BULK, CONTEXT, key=key).headers["burgee-age"]) >= 2)
        assert single(server, key)["reason"] == "STATIC"
        assert "ageSeconds" not in json.dumps(single(server, key))
