"""The OpenFeature web SDK with its OFREP provider, in Node: a publish reaches it by the event stream."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from threading import Timer
from typing import Any

from server.files import write_atomically
from server.types import KeyKind
from tests.server.conftest import add_key
from tests.server.running import BULK, PATIENCE, Running, running, until

HERE = Path(__file__).resolve().parent
CONTEXT = {"context": {"targetingKey": "u-1"}}


def document(word: str) -> bytes:
    flag = f"{{type: string, clientVisible: true, variants: {{a: {word}}}, fallthrough: a}}"
    return f"flags: {{word: {flag}}}\n".encode()


def streams_of(server: Running) -> float:
    lines = server.manage("/metrics").body.decode().splitlines()
    return sum(float(each.split()[1]) for each in lines if each.startswith("burgee_event_streams "))


def test_a_publish_reaches_the_application(installed: Path, tmp_path: Path) -> None:
    tenants = tmp_path / "tenants"
    (tenants / "acme").mkdir(parents=True)
    source = tenants / "acme" / "app.yaml"
    write_atomically(source, document("one"))
    key = add_key(tenants, kind=KeyKind.CLIENT)
    with running(tenants) as server:
        until(lambda: server.post(BULK, CONTEXT, key=key).status == 200)
        asked = json.dumps({"url": server.data, "key": key, "flag": "word"})
        command = ["node", str(HERE / "watch_flag.mjs"), asked]
        client = subprocess.Popen(command, cwd=installed, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        watch = Timer(PATIENCE, client.kill)
        watch.start()
        try:
            assert next_details(client, after="")["value"] == "one"
            until(lambda: streams_of(server) == 1)
            write_atomically(source, document("two"))
            details = next_details(client, after="one")
            assert (details["value"], details["reason"]) == ("two", "STATIC")
            write_atomically(source, document("three"))
            assert next_details(client, after="two")["value"] == "three"
            assert streams_of(server) == 1  # the same one
        finally:
            watch.cancel()
            client.kill()
            client.communicate()


def next_details(client: subprocess.Popen[bytes], *, after: str) -> dict[str, Any]:
    """The next that are not of this value: an application may be told more than once."""
    assert client.stdout is not None
    while True:
        details: dict[str, Any] = json.loads(client.stdout.readline())
        if details["value"] != after:
            return details
