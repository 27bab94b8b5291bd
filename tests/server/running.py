"""A real server process on loopback, and a client of the standard library that sends what it is told.

with running(tenants) as server:
    server.post("/v1/evaluate", {"contexts": []}, key=key).status
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLES = ROOT / "examples" / "tenants"
PATIENCE = 60.0  # seconds until something that must happen is given up; never a measure of speed

SHOP = "burgee_server_DemoShopServer00_ADemoKeyThatEverybodyKnows000000000000000002e3IFk"
SHOP_CLIENT = "burgee_client_DemoShopClient00_ADemoKeyThatEverybodyKnows0000000000000000048lsf8"
SHOP_BOTH = "burgee_server_DemoShopBoth0000_ADemoKeyThatEverybodyKnows000000000000000004CtABQ"
BANK = "burgee_server_DemoBankServer00_ADemoKeyThatEverybodyKnows000000000000000000esnXA"
GAME = "burgee_server_DemoGameServer00_ADemoKeyThatEverybodyKnows000000000000000003oubKK"

BULK = "/ofrep/v1/evaluate/flags"
BATCH = "/v1/evaluate"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Running:
    data: str
    management: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.data)
        assert parts.hostname and parts.port
        return parts.hostname, parts.port

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        return request_of(self.data, method, path, body, headers or {})

    def post(self, path: str, body: Any, *, key: str | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        sent = {"Content-Type": "application/json", **(headers or {})}
        if key:
            sent["Authorization"] = f"Bearer {key}"
        return self.request("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), sent)

    def manage(self, path: str, method: str = "GET") -> Reply:
        return request_of(self.management, method, path, None, {})

    def status_of(self, environment: str) -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.manage("/status?limit=1000").json["environments"]
        return next((row for row in rows if row["environment"] == environment), {})

    def raw(self, sent: bytes) -> bytes:
        """What the server answers to these bytes, until it closes the connection."""
        with socket.create_connection(self.address, timeout=PATIENCE) as connection:
            connection.sendall(sent)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def running(tenants: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    log = tenants.with_name(f"{tenants.name}.log")
    command = ["serve", "--tenants", str(tenants), "--port", "0"]
    command += ["--management-port", "0", "--poll-interval", "0.05", "--settle-time", "0.02", "--workers", "1"]
    command += ["--state", str(tenants.with_name(f"{tenants.name}.state")), *arguments]
    with launched(command, log, cwd=tenants, env=env) as (addresses, process):
        yield Running(addresses["data"], addresses["management"], process, log)


@contextmanager
def launched(
    command: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str] | None = None
) -> Iterator[tuple[dict[str, str], subprocess.Popen[bytes]]]:
    """`burgee` with these arguments, once it has said where it listens."""
    whole = [sys.executable, "-m", "server.cli", *command, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    with log.open("wb") as errors:
        process = subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=errors, env=environment, cwd=cwd)
    assert process.stdout is not None
    try:
        lines = b""
        while not lines.rstrip().endswith(b"}"):
            line = process.stdout.readline()
            assert line, f"the server did not start: {log.read_text()}"
            lines += line
        yield json.loads(lines), process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()


def until(holds: Callable[[], Any]) -> Any:
    """The first true value, or an error when there is none for a long time."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(0.02)
    raise AssertionError("it did not come to hold")


def request_of(base: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
    parts = urlsplit(base)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()
