"""The commands and a whole server: the key it keeps for its owner, and a publish that every worker has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.server.client.planes import burgee
from tests.server.running import BULK, PATIENCE, ROOT, SAMPLES, SHOP, request_of, until


def test_from_nothing_to_an_answer(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = [sys.executable, "-m", "server.cli", "serve", "--json", "--state", str(state), "--workers", "2"]
    command += ["--port", "0", "--management-port", "0", "--control-port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, cwd=tmp_path)
    try:
        assert process.stdout is not None
        lines = b""
        while not lines.rstrip().endswith(b"}"):
            line = process.stdout.readline()
            assert line, (tmp_path / "log").read_text()
            lines += line
        addresses = json.loads(lines)
        until((state / "admin.key").is_file)

        def ours(*arguments: str | Path) -> str:
            result = burgee(*arguments, control=addresses["control"], state=str(state), admin_key="")
            assert result.exit_code == 0, f"{result.output}\n{(tmp_path / 'log').read_text()}"
            return result.output

        assert "3 projects: 3 changed" in ours("import", SAMPLES, "--retry-for", "60")
        assert "shop/web/production: version 2\n" in ours("publish", "shop/web/production", "--wait", "60")
        # Every worker of every host has it, so the next request is answered from it, whoever takes it.
        for _ in range(4):
            headers = {"Authorization": f"Bearer {SHOP}", "Content-Type": "application/json"}
            answer = request_of(addresses["data"], "POST", BULK, b'{"context": {"targetingKey": "u"}}', headers)
            assert (answer.status, answer.headers["burgee-version"]) == (200, "2")
        assert "has it" in ours("kill", "shop/web/production", "new-checkout", "--wait", "60")
        hosts = json.loads(ours("hosts", "--json"))
        assert [(each["workers"], each["projects"]) for each in hosts] == [(2, 3)]
        assert "shop/web/production" in ours("status")
    finally:
        process.terminate()
        process.wait(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()
