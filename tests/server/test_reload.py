"""Changing the folder under a running server: the good is served, the broken changes nothing, nothing is mixed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from server.files import write_atomically
from tests.server.conftest import add_key
from tests.server.running import BATCH, BULK, ROOT, Running, running, until

CONTEXT = {"context": {"targetingKey": "u-1"}}
FLAGS = 20


def document(word: str, environments: str = "[default]") -> bytes:
    """Flags that all give the same word."""
    flags = "".join(
        f"  f{n}: {{type: string, variants: {{a: {word}, b: other}}, offVariant: b, fallthrough: a,"
        f" rules: [{{when: 'x > {n}', serve: b}}]}}\n"
        for n in range(FLAGS)
    )
    return f"environments: {environments}\nflags:\n{flags}".encode()


@pytest.fixture
def app(tenants: Path) -> Path:
    path = tenants / "acme" / "app.yaml"
    path.write_bytes(document("one"))
    return path


@pytest.fixture
def key(tenants: Path) -> str:
    return add_key(tenants)


@pytest.fixture
def server(app: Path, key: str, tenants: Path) -> Iterator[Running]:
    with running(tenants) as started:
        yield started


def word_of(server: Running, key: str) -> str | int:
    """What is served, or the status where nothing is."""
    reply = server.post(f"{BULK}/f0", CONTEXT, key=key)
    word: str | int = reply.json["value"] if reply.status == 200 else reply.status
    return word


def wait_for(server: Running, key: str, word: str) -> None:
    until(lambda: word_of(server, key) == word)


def state_of(server: Running) -> str | None:
    state: str | None = server.status_of("acme/app/default").get("state")
    return state


def test_a_change_is_served_with_a_higher_version(server: Running, app: Path, key: str) -> None:
    before = server.status_of("acme/app/default")["version"]
    write_atomically(app, document("two"))
    until(lambda: word_of(server, key) == "two")
    app.write_bytes(document("three"))  # in place
    until(lambda: word_of(server, key) == "three")
    old = app.with_name("old.txt")
    old.write_bytes(document("four"))
    os.utime(old, (1, 1))  # a restored file, with its old time
    os.replace(old, app)
    until(lambda: word_of(server, key) == "four")
    assert server.status_of("acme/app/default")["version"] > before
    assert server.manage("/metrics").body.count(b'burgee_reloads_total{outcome="installed",source="document"} 4.0') == 1


def test_the_same_content_is_no_change(server: Running, app: Path) -> None:
    before = server.status_of("acme/app/default")
    write_atomically(app, app.read_bytes())
    os.utime(app, (2_000_000_000, 2_000_000_000))
    server.process.send_signal(signal.SIGHUP)
    app.with_name("next.yaml").write_bytes(document("marker"))  # seen no earlier than the others
    until(lambda: server.status_of("acme/next/default"))
    after = server.status_of("acme/app/default")
    since = {"ageSeconds": 0, "stateSince": ""}  # the agent is another one, and counts from the last installation
    assert {**after, **since} == {**before, **since}


@pytest.mark.parametrize(
    "broken", [b"", b"flags: [", b"flags: {a: {}}", b"\xff", b"flags: {}\nflags: {}", b"x" * 17_000_000]
)
def test_a_broken_document_keeps_the_last_good_one(server: Running, app: Path, key: str, broken: bytes) -> None:
    write_atomically(app, broken)
    until(lambda: state_of(server) == "stale")
    row = server.status_of("acme/app/default")
    assert row["lastError"]["message"]
    assert word_of(server, key) == "one"
    assert server.manage("/readyz").status == 200
    assert b"burgee_projects_stale 1.0" in server.manage("/metrics").body
    assert "document refused" in server.log.read_text()
    until(lambda: server.status_of("acme/app/default")["ageSeconds"] > row["ageSeconds"])
    write_atomically(app, document("one"))  # what is served already
    until(lambda: state_of(server) == "valid")
    assert server.status_of("acme/app/default")["version"] == row["version"]


def test_a_document_that_was_never_good(tenants: Path, app: Path, key: str) -> None:
    app.write_text("flags: [")
    with running(tenants) as server:
        reply = server.post(BULK, CONTEXT, key=key)
        assert (reply.status, reply.json["errorCode"]) == (503, "PROVIDER_NOT_READY")
        assert int(reply.headers["retry-after"]) > 0
        assert server.manage("/readyz").status == 200
        assert server.status_of("acme/app")["state"] == "broken"
        app.write_bytes(document("one"))
        until(lambda: word_of(server, key) == "one")


def test_two_documents_for_one_project_are_refused(server: Running, app: Path, key: str) -> None:
    second = app.with_suffix(".json")
    second.write_text("{}")
    until(lambda: state_of(server) == "stale")
    assert "app.json" in server.status_of("acme/app/default")["lastError"]["message"]
    assert word_of(server, key) == "one"
    second.unlink()
    until(lambda: state_of(server) == "valid")


def test_what_is_deleted_is_gone(server: Running, app: Path, key: str) -> None:
    app.with_name("other.yaml").write_bytes(document("other"))
    until(lambda: server.status_of("acme/other/default"))
    app.unlink()
    until(lambda: word_of(server, key) == 503)
    app.with_name("app.keys.yaml").unlink()
    until(lambda: word_of(server, key) == 401)
    until(lambda: not server.status_of("acme/app"))
    app.write_bytes(document("back"))
    back = add_key(app.parent.parent)
    until(lambda: word_of(server, back) == "back")


def test_an_emptied_or_lost_folder_changes_nothing(server: Running, tenants: Path, key: str) -> None:
    shutil.move(tenants / "acme", tenants.with_name("moved"))
    until(lambda: server.manage("/status").json["lastError"])
    assert word_of(server, key) == "one"
    tenants.rmdir()
    until(lambda: "cannot be listed" in (server.manage("/status").json["lastError"] or {"message": ""})["message"])
    assert word_of(server, key) == "one"
    assert server.manage("/readyz").status == 200
    tenants.mkdir()
    shutil.move(tenants.with_name("moved"), tenants / "acme")
    until(lambda: server.manage("/status").json["lastError"] is None)
    assert word_of(server, key) == "one"
    assert said(server, "the folder of tenants is there again") == 1


def test_a_tenant_that_cannot_be_listed_at_the_start_is_as_before(server: Running, tenants: Path, key: str) -> None:
    assert server.stop() == 0
    (tenants / "other").mkdir()
    shutil.copy(tenants / "acme" / "app.yaml", tenants / "other")
    shutil.move(tenants / "acme", tenants.with_name("moved"))
    (tenants / "acme").symlink_to("acme")
    with running(tenants) as again:
        assert word_of(again, key) == "one"
        (tenants / "acme").unlink()
        shutil.move(tenants.with_name("moved"), tenants / "acme")
        until(lambda: said(again, "a tenant's folder is looked at again") == 1)
        assert word_of(again, key) == "one"


def said(server: Running, event: str) -> int:
    return sum(json.loads(line)["event"] == event for line in server.log.read_text().splitlines())


def test_environments_come_and_go(server: Running, app: Path, tenants: Path, key: str) -> None:
    second = add_key(tenants, "second")
    until(lambda: word_of(server, second) == 403)
    write_atomically(app, document("two", "[default, second]"))
    until(lambda: word_of(server, second) == "two")
    write_atomically(app, document("three", "[second]"))
    until(lambda: word_of(server, second) == "three")
    assert word_of(server, key) == 403


def test_keys_are_made_and_revoked_while_it_runs(server: Running, tenants: Path, key: str) -> None:
    where = ["--tenants", str(tenants), "--tenant", "acme", "--project", "app"]
    burgee = [sys.executable, "-m", "server.cli", "keys"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    made = subprocess.run(
        [*burgee, "new", *where, "--environment", "default", "--kind", "server"],
        env=env, cwd=tenants, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    until(lambda: word_of(server, made) == "one")
    subprocess.run([*burgee, "revoke", *where, made.split("_")[2]], env=env, cwd=tenants, check=True)
    until(lambda: word_of(server, made) == 401)
    assert word_of(server, key) == "one"
    (tenants / "acme" / "app.keys.yaml").write_text("keys: [{")
    until(lambda: server.status_of("acme/app/default")["keysError"])
    assert word_of(server, key) == "one"
    assert made not in server.log.read_text()


def test_what_is_no_file_is_reported_and_holds_up_nobody(tenants: Path, app: Path, key: str) -> None:
    pipes = [app.with_name(f"pipe{n}.yaml") for n in range(10)]
    os.mkfifo(pipes[0])
    with running(tenants) as server:
        assert server.status_of("acme/pipe0")["state"] == "broken"
        for each in pipes[1:]:
            os.mkfifo(each)
        app.with_name("loop.yaml").symlink_to("loop.yaml")
        (tenants / "loop").symlink_to("loop")
        write_atomically(app, document("two"))
        until(lambda: word_of(server, key) == "two")
        assert "regular file" in until(lambda: server.status_of("acme/pipe9"))["lastError"]["message"]
        assert "cannot be read" in until(lambda: server.status_of("acme/loop"))["lastError"]["message"]
        assert server.log.read_text().count("cannot be listed") == 1


def test_what_could_not_be_read_for_a_while_is_as_before(server: Running, tenants: Path, app: Path, key: str) -> None:
    keys = tenants / "acme" / "app.keys.yaml"

    def problem(path: Path) -> object:
        return server.status_of("acme/app/default")["keysError" if path == keys else "lastError"]

    def healed(path: Path) -> bool:
        return problem(path) is None

    for path in (keys, app):
        aside = path.with_suffix(".aside")
        path.rename(aside)
        path.mkdir()
        until(partial(problem, path))
        assert word_of(server, key) == "one"
        path.rmdir()
        aside.rename(path)
        until(partial(healed, path))
    assert state_of(server) == "valid"
    assert (said(server, "the keys are good again"), said(server, "the document is good again")) == (1, 1)
    keys.unlink()
    until(lambda: said(server, "keys removed: their file is gone") == 1)


def test_a_problem_that_another_one_hid_for_a_while_is_told_again(server: Running, app: Path) -> None:
    def message() -> str:
        return str((server.status_of("acme/app/default")["lastError"] or {"message": ""})["message"])

    write_atomically(app, b"flags: [")
    until(lambda: "does not compile" in message())
    second = app.with_suffix(".json")
    second.write_text("{}")
    until(lambda: "several documents" in message())
    second.unlink()
    until(lambda: "does not compile" in message())


def test_no_answer_is_dropped_or_mixed_while_documents_change(server: Running, app: Path, key: str) -> None:
    """Readers see one word per answer, versions that never go back, and no failure, through forty changes."""
    done = Event()

    def read() -> tuple[int, int]:
        answers, newest = 0, 0
        while not done.is_set():
            reply = server.post(BULK, CONTEXT, key=key)
            assert reply.status == 200
            [word] = {each["value"] for each in reply.json["flags"]}
            batch = server.post(BATCH, {"contexts": [{"x": 0.5}, {}], "format": "full"}, key=key)
            assert {each["variant"] for each in batch.json["results"][1]["flags"]} == {"a"}
            assert len({each["value"] for each in batch.json["results"][1]["flags"]}) == 1
            for answer in (reply, batch):
                version = int(answer.json["metadata"]["version"])
                assert version == int(answer.headers["burgee-version"]) >= newest
                newest = version
            answers += 1
        return answers, int(word.removeprefix("w") or 0)

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for n in range(40):
                # every fifth is broken on the way
                if n % 5 == 4:
                    write_atomically(app, b"flags: [")
                write_atomically(app, document(f"w{n}"))
                if n % 4 == 3:
                    wait_for(server, key, f"w{n}")
        finally:
            done.set()
        for reader in readers:
            answers, _ = reader.result()
            assert answers > 0
    assert word_of(server, key) == "w39"


def test_a_stop_does_not_wait_for_a_compilation(server: Running, app: Path) -> None:
    conditions = " || ".join(f"a{n} > {n}" for n in range(200))
    flags = "".join(
        f"  f{n}: {{type: boolean, variants: {{y: true, n: false}}, fallthrough: n,"
        f" rules: [{{when: '({conditions}) && b{n} == {n}', serve: y}}]}}\n"
        for n in range(900)
    )
    write_atomically(app, f"flags:\n{flags}".encode())
    until(lambda: server.status_of("acme/app/default")["ageSeconds"] > 0.3)
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


def test_sigterm_drains(server: Running, key: str) -> None:
    assert server.post(BULK, CONTEXT, key=key).status == 200
    assert server.stop() == 0
    assert '"event": "stopped"' in server.log.read_text()


def test_while_it_drains_it_serves_and_says_so(tenants: Path, app: Path, key: str) -> None:
    with running(tenants, "--drain-delay", "30") as server:
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.manage("/readyz").status == 503)
        reply = server.post(BULK, CONTEXT, key=key)
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert server.manage("/healthz").status == 200
        server.process.kill()


def test_a_killed_server_takes_its_compiler_with_it(server: Running) -> None:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not list a process's children")
    workers = [int(pid) for pid in children.read_text().split()]
    assert workers
    server.process.kill()
    server.process.wait()
    until(lambda: not any(is_running(pid) for pid in workers))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
