"""Everything else is dead, or the disk is: hosts serve what they have, and never what is half there."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.callers import Caller
from tests.chaos.generations import asked
from tests.chaos.history import History, violations
from tests.chaos.host import Host, free_port, scaled, until
from tests.chaos.relay import relay
from tests.chaos.world import World, probe
from tests.server.running import Reply, request_of


def ask(host: Host, key: str, path: str, body: bytes) -> Reply:
    name, port = host.data_address
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return request_of(f"http://{name}:{port}", "POST", path, body, headers)


QUESTIONS = {
    "/v1/evaluate": asked(1),
    "/ofrep/v1/evaluate/flags": b'{"context": {"targetingKey": "u"}}',
    "/ofrep/v1/evaluate/flags/plain-0": b'{"context": {"targetingKey": "u"}}',
}


def test_a_cold_start_with_nothing_is_503_until_there_is_something(embedded: World) -> None:
    """One whose upstream is away, and a control plane whose database is."""
    it = embedded
    port = free_port()
    far = it.host("cold", upstream=f"http://127.0.0.1:{port}", workers=1)
    arguments = ("--database", "postgresql://nobody@127.0.0.1:9/nothing", "--control-port", str(free_port()))
    with_control = Host("cold-control", it.folder / "cold-control", arguments, workers=1)
    try:
        for host in (far, with_control):
            host.start(ready=False)
        for host in (far, with_control):
            until(lambda host=host: host.manage("/healthz")[0] == 200, "the agent answers")  # type: ignore[misc]
        deadline = time.monotonic() + scaled(2, 20)
        while time.monotonic() < deadline:
            for host in (far, with_control):
                for path, body in QUESTIONS.items():
                    reply = ask(host, it.server_key, path, body)
                    assert reply.status == 503 and reply.headers["retry-after"], (path, reply)
                assert host.manage("/readyz")[0] == 503
        with relay(it.control_port, ("127.0.0.1", port)):
            until(lambda: ask(far, it.server_key, "/v1/evaluate", asked(1)).status == 200, "far serves")
            assert {ask(far, it.server_key, path, body).status for path, body in QUESTIONS.items()} == {200}
    finally:
        far.stop()
        with_control.stop()


def test_all_is_down_and_each_worker_is_killed_in_turn(through_redis: World) -> None:
    it = through_redis
    assert it.redis and it.postgres
    far = it.host("alone", "--redis", it.redis.url)
    with it.started(far):
        with it.run() as history:
            time.sleep(0.5)
        assert violations(history) == []
        it.hosts.remove(it.near)
        it.near.kill()
        it.redis.kill()
        try:
            with it.run(publishing=False, callers=4) as history:
                for _ in range(scaled(1, 10)):
                    for number in range(far.workers):
                        with it.killing():
                            far.kill_worker(number)
                    far.kill_slot("burgee-agent")
                it.postgres.kill()
                time.sleep(scaled(1, 60))
                it.postgres.start()  # for a look at the record
            assert violations(history) == []
            print(f"\neach worker killed: the longest evaluation took {max(c.longest for c in it.callers):.2f} s")
            far.kill()
            since = time.monotonic()
            far.start(ready=False)
            until(lambda: probe(far, it.server_key), "served from disk")
            print(f"started again with everything down: all workers answer after {time.monotonic() - since:.2f} s")
            with it.run(publishing=False) as history:
                time.sleep(0.5)
            assert violations(history) == []
        finally:
            it.redis.start()
            it.near.start()
            it.hosts.insert(0, it.near)
        with it.run() as history:
            time.sleep(0.5)
        assert violations(history) == []


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "torn": lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
    "flipped": lambda content: content[:300] + bytes([content[300] ^ 1]) + content[301:],
    "truncated": lambda content: content[:-100],
    "empty": lambda content: b"",
    "gone": lambda content: None,
}


def damage(state: Path, how: str) -> int:
    """All files of snapshots there are, replaced: whoever has mapped one keeps it."""
    paths = list((state / "snapshots").rglob("*.burgee"))
    for path in paths:
        content = DAMAGES[how](path.read_bytes())
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    return len(paths)


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_snapshot_is_fetched_again(embedded: World, how: str) -> None:
    """While it is served nobody notices. A worker that begins with it refuses, and has a good one in a moment."""
    (far,) = (each for each in embedded.hosts if each.name == "far")
    until(lambda: probe(far, embedded.server_key), "it is served")
    with embedded.run(publishing=False) as history:
        assert damage(far.state, how)
        time.sleep(0.3)
    assert violations(history) == []
    far.kill_worker(0)
    history = History()
    caller = Caller(far.data_address, embedded.server_key, history, "far")
    since = time.monotonic()
    answer = until(caller.ask, "a good answer")
    print(f"\n{how}: {len(history.failed)} answers were 503, for {time.monotonic() - since:.2f} s")
    assert history.torn == [] and answer.version == embedded.newest()
    assert all(each.startswith("503") for each in history.failed), history.failed
    with embedded.run() as history:
        time.sleep(0.3)
    assert violations(history) == []


@contextmanager
def small_disk(path: Path, size: str = "16m") -> Iterator[None]:
    path.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_delays_and_breaks_nothing(embedded: World) -> None:
    host = embedded.host("small", workers=1)
    with small_disk(host.state), embedded.started(host):
        ballast = host.state / "ballast"
        with embedded.run() as history:
            time.sleep(0.5)
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            until(lambda: host.metric("burgee_sync_refused_total") or _complains(host.status()), "it says so")
            time.sleep(scaled(1, 60))
            with embedded.killing():
                host.kill_worker(0)
            ballast.unlink()
            since = time.monotonic()
            embedded.settle(history, least=embedded.newest())
            print(f"\nthe disk has room again: converged after {time.monotonic() - since:.2f} s")
        assert violations(history) == []


def _complains(status: dict[str, object]) -> bool:
    environments = status["environments"]
    assert isinstance(environments, list)
    return bool(status["lastError"] or any(each["lastError"] for each in environments))
