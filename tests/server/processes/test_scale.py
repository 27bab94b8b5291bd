"""Hundreds of tenants in little memory: every answer is its tenant's, and a restart compiles nothing."""

from __future__ import annotations

import json
from pathlib import Path

from server import keys
from server.sources import key_file
from server.types import KeyKind, ProjectId
from tests.server.processes.callers import workers_of
from tests.server.running import BULK, Running, running, until

TENANTS = 300
BUDGET = 1 << 20  # bytes; all together are some times as large


def key_of(number: int) -> str:
    return keys.assemble(KeyKind.SERVER, f"{number:016d}", f"{number:043d}")


def add_tenant(tenants: Path, number: int, word: str) -> None:
    folder = tenants / f"t{number:03d}"
    folder.mkdir(exist_ok=True)
    flags = {
        f"f{each:02d}": {
            "type": "string",
            "variants": {"a": f"{word} {each} {'x' * 200}", "b": "other"},
            "offVariant": "b",
            "fallthrough": "a",
            "rules": [{"when": f"x > {each}", "serve": "b"}],
        }
        for each in range(20)
    }
    (folder / "app.json").write_text(json.dumps({"flags": flags}))
    record = key_file.KeyRecord(
        selector=keys.selector_of(key_of(number)) or "",
        sha256=keys.digest_of(key_of(number)).hex(),
        kind=KeyKind.SERVER,
        environments=("default",),
        created=key_file.now(),
    )
    key_file.write(key_file.path_of(tenants, ProjectId(folder.name, "app")), key_file.KeyFile((record,)))


def word_of(server: Running, number: int) -> str:
    reply = server.post(f"{BULK}/f07", {"context": {"targetingKey": "u"}}, key=key_of(number))
    assert reply.status == 200, reply.body
    return str(reply.json["value"]).split()[0]


def test_hundreds_of_tenants_in_a_small_budget(tmp_path: Path) -> None:
    tenants = tmp_path / "tenants"
    tenants.mkdir()
    for number in range(TENANTS):
        add_tenant(tenants, number, f"tenant-{number}")
    arguments = ("--workers", "2", "--memory-budget", str(BUDGET))
    with running(tenants, *arguments) as server:
        rows = server.manage("/status?limit=1000").json["environments"]
        assert len(rows) == TENANTS and sum(each["sizeBytes"] for each in rows) > 2 * BUDGET
        for _ in range(2):
            assert [word_of(server, n) for n in range(TENANTS)] == [f"tenant-{n}" for n in range(TENANTS)]
        workers = server.manage("/status?limit=1").json["workers"]
        assert len(workers) == 2 and all(0 < each["mappedBytes"] <= BUDGET for each in workers)
        evictions = server.manage("/metrics").body.decode().partition("\nburgee_snapshot_evictions_total ")[2]
        assert float(evictions.split()[0]) > TENANTS
        add_tenant(tenants, 7, "changed")  # of one, and nobody else's is touched
        until(lambda: word_of(server, 7) == "changed")
        assert [word_of(server, n) for n in (6, 8, 299)] == ["tenant-6", "tenant-8", "tenant-299"]
    with running(tenants, *arguments) as server:
        assert "document installed" not in server.log.read_text()
        until(lambda: len(workers_of(server)) == 2)
        assert [word_of(server, n) for n in (6, 7, 8)] == ["tenant-6", "changed", "tenant-8"]
