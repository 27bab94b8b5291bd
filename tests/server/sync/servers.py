"""Real servers that get what they serve from elsewhere: a control plane of their own, or another Burgee.

with burgee(folder, "serve", "--import", …) as central, burgee(folder, "edge", "--upstream", central.data) as edge: …
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from server.sources import key_file
from server.types import ProjectId
from tests.server.conftest import add_key
from tests.server.running import BULK, PATIENCE, ROOT, Reply, Running, request_of, until

FLAG = "/api/v1/tenants/acme/projects/app/flags/word"
PUBLISH = "/api/v1/tenants/acme/projects/app/environments/default/publish"
CONTEXT = {"context": {"targetingKey": "u-1"}}


def folder_with(word: str, folder: Path) -> str:
    """A folder of tenants with one project of one flag; a server key for it."""
    (folder / "acme").mkdir(parents=True)
    (folder / "acme" / "app.json").write_text(json.dumps({"flags": {"word": flag(word)}}))
    key = add_key(folder)
    assert key_file.path_of(folder, ProjectId("acme", "app")).exists()
    return key


def flag(word: str) -> dict[str, Any]:
    return {"type": "string", "variants": {"a": word, "b": "other"}, "offVariant": "b", "fallthrough": "a"}


@dataclass(frozen=True)
class Burgee:
    running: Running
    control: str
    state: Path

    def ask(self, key: str) -> Reply:
        return self.running.post(f"{BULK}/word", CONTEXT, key=key)

    def word(self, key: str) -> Any:
        """What the flag says, or the status; `lost` where a connection was."""
        try:
            reply = self.ask(key)
        except (OSError, HTTPException):
            return "lost"
        return reply.json["value"] if reply.status == 200 else reply.status

    def words_of_all(self, key: str) -> set[Any]:
        """Over many connections, so that every worker is met."""
        return {self.word(key) for _ in range(24)}

    def admin(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        sent = {"Authorization": f"Bearer {(self.state / 'admin.key').read_text().strip()}", **headers}
        sent["Content-Type"] = "application/json"
        return request_of(self.control, method, path, None if body is None else json.dumps(body).encode(), sent)

    def publish(self, word: str) -> int:
        """The version, acknowledged."""
        before = self.admin("GET", FLAG)
        changed = self.admin("PUT", FLAG, flag(word), **{"If-Match": before.headers["etag"]})
        assert changed.status == 200, changed.body
        newest = self.admin("GET", PUBLISH.removesuffix("/publish")).json["version"]
        done = self.admin("POST", PUBLISH, {}, **{"If-Match": f'"{newest}"'})
        assert done.status == 200, done.body
        version: int = done.json["version"]
        return version

    def edge_key(self, **scope: Any) -> str:
        made = self.admin("POST", "/api/v1/tenants/acme/keys", {"kind": "edge", "project": "app", **scope})
        assert made.status == 201, made.body
        key: str = made.json["key"]
        return key

    def process(self, name: str) -> int:
        """The newest of that name below this server."""
        found = subprocess.run(
            ["ps", "-o", "pid=,comm=", "--ppid", str(self.running.process.pid)], capture_output=True, text=True
        ).stdout
        return int(re.findall(rf"(\d+) burgee-{name}", found)[-1])

    def kill(self, name: str) -> None:
        os.kill(self.process(name), signal.SIGKILL)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.running.manage("/status").json
        return answer

    def metric(self, name: str) -> float:
        text = self.running.manage("/metrics").body.decode()
        return sum(
            float(each) for each in re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        )


@contextmanager
def burgee(state: Path, command: str, *arguments: str, loaded: bool = True) -> Iterator[Burgee]:
    """With `loaded`, once it has tried all there is; else as soon as it listens, with an address that is free."""
    log = state.with_name(f"{state.name}.log")
    line = [sys.executable, "-m", "server.cli", command, "--json", "--state", str(state), "--port", "0"]
    line += ["--management-port", "0", "--workers", "2", *arguments]
    if command == "serve" and "--tenants" not in arguments:
        line += ["--control-port", "0"]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            line, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    assert process.stdout is not None
    try:
        addresses = announced(process, log) if loaded else until(lambda: listening(log))
        running = Running(addresses["data"], addresses["management"], process, log)
        yield Burgee(running, addresses.get("control", ""), state)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()


def announced(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    lines = b""
    assert process.stdout is not None
    while not lines.rstrip().endswith(b"}"):
        line = process.stdout.readline()
        assert line, f"the server did not start: {log.read_text()}"
        lines += line
    addresses: dict[str, str] = json.loads(lines)
    return addresses


def listening(log: Path) -> dict[str, str] | None:
    for line in log.read_text().splitlines():
        said = json.loads(line)
        if said["event"] == "listening":
            return {name: said[name] for name in ("data", "management", "control") if name in said}
    return None
