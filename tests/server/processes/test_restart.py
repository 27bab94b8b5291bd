"""Restarts of a whole server and of its parts: no request fails, nothing is lost, what is damaged is mended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import keys
from server.files import write_atomically
from server.sources import key_file
from server.sources.key_file import KeyFile
from server.types import ProjectId
from tests.server.conftest import add_key
from tests.server.processes.callers import agent_of, calling, workers_of
from tests.server.running import BULK, ROOT, Reply, Running, running, until

APP = ProjectId("acme", "app")


def document(word: str) -> bytes:
    flag = {"type": "string", "variants": {"a": word, "b": "other"}, "offVariant": "b", "fallthrough": "a"}
    return json.dumps({"flags": {"f": flag}}).encode()


@pytest.fixture
def app(tenants: Path) -> Path:
    path = tenants / "acme" / "app.json"
    path.write_bytes(document("one"))
    (tenants / "acme" / "still.json").write_bytes(document("still"))
    return path


@pytest.fixture
def key(tenants: Path) -> str:
    return add_key(tenants)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "tenants.state"  # as `running` chooses it


@pytest.fixture
def pair(app: Path, key: str, tenants: Path) -> Iterator[Running]:
    with running(tenants, "--workers", "2") as server:
        until(lambda: len(workers_of(server)) == 2)
        yield server


def ask(server: Running, key: str) -> Reply:
    return server.post(f"{BULK}/f", {"context": {"targetingKey": "u"}}, key=key)


def words(server: Running, key: str) -> set[str | int]:
    """What is answered on several connections, which are some worker's each."""
    replies = [ask(server, key) for _ in range(12)]
    return {each.json["value"] if each.status == 200 else each.status for each in replies}


def revoke(tenants: Path, key: str) -> None:
    path = key_file.path_of(tenants, APP)
    known = key_file.parse(path.read_bytes()).keys
    key_file.write(path, KeyFile(tuple(each for each in known if each.selector != keys.selector_of(key))))


def installed(server: Running, project: str = "acme/app") -> int:
    return sum(
        '"document installed"' in line and f'"{project}"' in line for line in server.log.read_text().splitlines()
    )


@pytest.mark.parametrize("pause", [0.0, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.01, 0.3))])
def test_a_rolling_restart_fails_no_request(samples: Path, tmp_path: Path, pause: float) -> None:
    with running(samples, "--workers", "2", "--state", str(tmp_path / "state")) as server:
        with calling(server, 4 if pause < 0.3 else 16, pause=pause) as callers:
            for _ in range(2):
                before = workers_of(server)
                server.process.send_signal(signal.SIGHUP)
                until(lambda before=before: len(now := workers_of(server)) == 2 and not now & before)  # type: ignore[misc]
        assert (callers.lost, callers.refused) == ([], 0)


@pytest.mark.parametrize("pause", [0.0, 0.01])
def test_a_drain_fails_no_request(samples: Path, tmp_path: Path, pause: float) -> None:
    with running(samples, "--workers", "2", "--state", str(tmp_path / "state")) as server:
        with calling(server, 8, pause=pause) as callers:
            assert server.stop() == 0
            until(lambda: callers.refused > 8)
        assert callers.lost == []


def test_workers_serve_on_while_the_agent_is_dead_and_the_next_one_catches_up(
    pair: Running, tenants: Path, app: Path, key: str
) -> None:
    revoked = add_key(tenants)
    until(lambda: words(pair, revoked) == {"one"})
    version = int(ask(pair, key).headers["burgee-version"])
    compiled = installed(pair), installed(pair, "acme/still")
    agent = agent_of(pair)
    os.kill(agent, signal.SIGSTOP)  # dead to all, and not replaced yet
    write_atomically(app, document("two"))
    os.utime(app, (1, 1))  # a file whose time says that it is older
    revoke(tenants, revoked)
    age = int(ask(pair, key).headers["burgee-age"])
    until(lambda: int(ask(pair, key).headers["burgee-age"]) >= age + 2)
    assert words(pair, key) == words(pair, revoked) == {"one"}
    os.kill(agent, signal.SIGKILL)
    until(lambda: words(pair, key) == {"two"} and words(pair, revoked) == {401})
    assert int(ask(pair, key).headers["burgee-version"]) > version
    assert (installed(pair), installed(pair, "acme/still")) == (compiled[0] + 1, compiled[1])
    until(lambda: int(ask(pair, key).headers["burgee-age"]) < 2)


def test_an_agent_that_is_killed_again_and_again_loses_nothing(pair: Running, app: Path, key: str) -> None:
    for number in range(4):
        write_atomically(app, document(f"word-{number}"))
        time.sleep(0.04 * number)  # at another moment of the publication each time
        os.kill(agent_of(pair), signal.SIGKILL)
        until(lambda number=number: words(pair, key) == {f"word-{number}"})  # type: ignore[misc]


def test_the_age_of_what_is_stale_does_not_begin_anew_with_another_agent(pair: Running, app: Path, key: str) -> None:
    write_atomically(app, b"{")
    until(lambda: int(ask(pair, key).headers["burgee-age"]) >= 3)
    agent = agent_of(pair)
    os.kill(agent, signal.SIGKILL)
    until(lambda: agent_of(pair) != agent)
    until(lambda: pair.status_of("acme/app/default").get("state") == "stale")
    assert int(ask(pair, key).headers["burgee-age"]) >= 3


@pytest.mark.parametrize("sources", ["broken", "empty", "absent"])
def test_all_is_served_from_disk_when_the_sources_are_no_use(tenants: Path, app: Path, key: str, sources: str) -> None:
    with running(tenants) as server:
        version = ask(server, key).headers["burgee-version"]
    shutil.rmtree(tenants / "acme")
    if sources == "broken":
        app.parent.mkdir()
        app.write_bytes(b"{")
        key_file.path_of(tenants, APP).write_bytes(b"keys: {")
    elsewhere = tenants.with_name("elsewhere")
    state = str(tenants.with_name(f"{tenants.name}.state"))
    if sources == "absent":
        command = ("--tenants", str(elsewhere), "--state", state)
    else:
        command = ("--tenants", str(tenants), "--state", state)
    with running(tenants, *command) as server:
        reply = ask(server, key)
        assert (reply.json["value"], reply.headers["burgee-version"]) == ("one", version)
        status = server.manage("/status").json
        assert server.manage("/readyz").status == 200
        if sources == "broken":
            assert {each["environment"]: each["state"] for each in status["environments"]}[
                "acme/app/default"
            ] == "stale"
        else:
            assert status["lastError"]["message"].startswith("the folder of tenants")


def test_nothing_to_serve_and_no_folder_is_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "server.cli", "serve", "--tenants", str(tmp_path / "nowhere")]
    command += ["--state", str(tmp_path / "state"), "--port", "0", "--management-port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert ended.returncode != 0
    assert "there is no folder" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a_damaged_snapshot_is_compiled_again(app: Path, key: str, tenants: Path, state: Path, damage: str) -> None:
    with running(tenants) as server:
        version = int(ask(server, key).headers["burgee-version"])
        (path,) = (state / "snapshots/acme/app").iterdir()
        content = path.read_bytes()
        path.unlink()  # the one that is mapped stays as it is
        if damage != "missing":
            path.write_bytes(content[:100] + b"?" + content[101:] if damage == "flipped" else content[:-1])
        assert words(server, key) == {"one"}
        (worker,) = workers_of(server)
        os.kill(worker, signal.SIGKILL)
        until(lambda: words(server, key) == {"one"})
        assert int(ask(server, key).headers["burgee-version"]) > version
        assert "is damaged on disk; it is compiled again" in server.log.read_text()


@pytest.mark.parametrize("at", [3, 30, 200])
def test_a_journal_that_is_damaged_under_a_running_server_is_mended(
    app: Path, key: str, tenants: Path, state: Path, at: int
) -> None:
    with running(tenants) as server:
        (path,) = state.glob("journal.*")
        content = path.read_bytes()
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        (worker,) = workers_of(server)
        os.kill(worker, signal.SIGKILL)
        until(lambda: words(server, key) == {"one"})
        assert "the journal is damaged on disk; it is written anew" in server.log.read_text()
        write_atomically(app, document("two"))
        until(lambda: words(server, key) == {"two"})


@pytest.mark.parametrize("damage", ["head", "middle", "end", "missing"])
def test_a_journal_that_was_damaged_meanwhile(app: Path, key: str, tenants: Path, state: Path, damage: str) -> None:
    with running(tenants, "--workers", "2") as server:
        for word in ("two", "three"):
            write_atomically(app, document(word))
            until(lambda word=word: words(server, key) == {word})  # type: ignore[misc]
        version = int(ask(server, key).headers["burgee-version"])
        os.kill(server.process.pid, signal.SIGSTOP)  # or it would start another agent at once
        agent = agent_of(server)
        os.kill(agent, signal.SIGKILL)
        (path,) = state.glob("journal.*")
        content = path.read_bytes()
        at = {"head": 3, "middle": len(content) // 2, "end": len(content) - 2, "missing": 0}[damage]
        if damage == "missing":
            path.unlink()
        else:
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        os.kill(server.process.pid, signal.SIGCONT)
        until(lambda: agent_of(server) != agent)
        seen = []
        until(lambda: seen.append(ask(server, key)) or "published anew" in server.log.read_text())  # type: ignore[func-returns-value]
        write_atomically(app, document("four"))
        until(lambda: seen.append(ask(server, key)) or words(server, key) == {"four"})  # type: ignore[func-returns-value]
        assert {each.status for each in seen} == {200}
        assert int(ask(server, key).headers["burgee-version"]) > version
        assert {each.json["value"] for each in seen} <= {"three", "four"}
        assert server.log.read_text().count("published anew") == 1


def test_a_disk_that_is_full_or_read_only_leaves_evaluation_alone(
    app: Path, key: str, tenants: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    try:
        with running(tenants, "--state", str(disk)) as server:
            with contextlib.suppress(OSError):
                (disk / "ballast").write_bytes(bytes(1 << 20))
            write_atomically(app, document("two"))
            until(lambda: server.status_of("acme/app/default")["lastError"])
            assert "No space left" in server.status_of("acme/app/default")["lastError"]["message"]
            assert words(server, key) == {"one"}
            (disk / "ballast").unlink()
            until(lambda: words(server, key) == {"two"})  # by itself
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with running(tenants, "--state", str(disk)) as server:
            assert words(server, key) == {"two"}
            write_atomically(app, document("three"))
            until(lambda: server.status_of("acme/app/default")["lastError"])
            assert "Read-only" in server.status_of("acme/app/default")["lastError"]["message"]
            revoke(tenants, key)
            until(lambda: server.manage("/status").json["lastError"])
            assert words(server, key) == {"two"}  # which /status says: the revocation cannot be kept
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            until(lambda: words(server, key) == {401})
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
