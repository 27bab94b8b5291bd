"""A control plane and the hosts of the same server: what is published reaches every worker, whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.running import ROOT, request_of, until
from tests.server.sync.servers import Burgee, burgee, folder_with


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Burgee, str]]:
    home = tmp_path_factory.mktemp("central")
    key = folder_with("one", home / "tenants")
    with burgee(home / "state", "serve", "--import", str(home / "tenants")) as server:
        yield server, key


def test_what_is_published_is_answered_by_every_worker(central: tuple[Burgee, str]) -> None:
    server, key = central
    for word in ("two", "three"):
        version = server.publish(word)
        until(lambda word=word: server.words_of_all(key) == {word})  # type: ignore[misc]
        assert server.ask(key).headers["burgee-version"] == str(version)


def test_the_agent_shows_what_its_control_plane_counts(central: tuple[Burgee, str]) -> None:
    server, _ = central
    server.publish("counted")
    assert server.metric("burgee_control_requests_total") >= 4 and server.metric("burgee_control_publishes_total") >= 1
    assert server.metric("burgee_control_record_up") == 1
    text = "application/openmetrics-text; version=1.0.0"
    reply = request_of(server.running.management, "GET", "/metrics", None, {"Accept": text})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.body.count(b"# EOF") == 1 and reply.body.endswith(b"# EOF\n") and b"burgee_control_" in reply.body


def test_a_dead_control_plane_is_not_noticed_and_comes_back(central: tuple[Burgee, str]) -> None:
    server, key = central
    server.publish("before")
    until(lambda: server.words_of_all(key) == {"before"})
    os.kill(server.running.process.pid, signal.SIGSTOP)  # or there would be another control plane at once
    try:
        server.kill("control")
        assert server.words_of_all(key) == {"before"}
        assert server.running.manage("/readyz").status == 200
    finally:
        os.kill(server.running.process.pid, signal.SIGCONT)
    until(lambda: server.admin("GET", "/api/v1/tenants").status == 200)
    server.publish("after")
    until(lambda: server.words_of_all(key) == {"after"})


def test_a_host_that_is_held_installs_nothing(central: tuple[Burgee, str]) -> None:
    server, key = central
    server.publish("free")
    until(lambda: server.words_of_all(key) == {"free"})
    command = [sys.executable, "-m", "server.cli"]
    subprocess.run([*command, "hold", "--state", str(server.state)], check=True, cwd=ROOT, timeout=60)
    server.publish("held back")
    assert server.status()["held"]
    until(lambda: server.running.status_of("acme/app/default")["ageSeconds"] > 0.5)
    assert server.words_of_all(key) == {"free"}
    subprocess.run([*command, "release", "--state", str(server.state)], check=True, cwd=ROOT, timeout=60)
    until(lambda: server.words_of_all(key) == {"held back"})
    assert not server.status()["held"]


def test_a_damaged_snapshot_is_fetched_again(central: tuple[Burgee, str]) -> None:
    server, key = central
    version = server.publish("whole")
    until(lambda: server.words_of_all(key) == {"whole"})
    path = server.state / "snapshots" / "acme" / "app" / f"default@{version}.burgee"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    server.kill("worker")
    until(lambda: server.words_of_all(key) and path.read_bytes() == content)
    until(lambda: server.words_of_all(key) == {"whole"})


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    key = folder_with("one", tmp_path / "tenants")
    options = ("--import", str(tmp_path / "tenants"))
    with burgee(tmp_path / "state", "serve", *options) as server:
        version = server.publish("two")
        until(lambda: server.words_of_all(key) == {"two"})
        assert server.running.stop() == 0
    with burgee(tmp_path / "state", "serve", *options) as server:  # what is not empty is not filled again
        reply = server.ask(key)
        assert (reply.json["value"], reply.headers["burgee-version"]) == ("two", str(version))
    command = [sys.executable, "-m", "server.cli", "serve", "--tenants", str(tmp_path / "tenants")]
    command += ["--state", str(tmp_path / "state"), "--port", "0", "--management-port", "0"]
    refused = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert refused.returncode == 1 and "was filled from a record" in refused.stderr
