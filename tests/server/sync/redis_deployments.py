"""Redis as operators run it: three sentinels over a master and a replica, and a cluster of three.

with sentinels() as those:          those.address == "redis+sentinel://127.0.0.1:41223,…/burgee"
    those.servers[0].kill()         the other one becomes master
with cluster() as those:            those.address == "redis+cluster://127.0.0.1:41223,…"
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from redis import Redis
from redis.exceptions import RedisError

from tests.services import RedisServer, Service, redis_program

MASTER = "burgee"
PATIENCE = 60.0  # seconds
SLOTS = 16384


@dataclass(frozen=True, slots=True)
class Deployment:
    address: str
    servers: tuple[RedisServer, ...]

    def ask(self, index: int, *words: str | int) -> object:
        with Redis(host="127.0.0.1", port=self.servers[index].port) as client:
            return client.execute_command(*words)

    def keys(self, index: int) -> int:
        count = self.ask(index, "DBSIZE")
        assert isinstance(count, int)
        return count


class Sentinel(Service):
    def __init__(self, master: int) -> None:
        super().__init__()
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {master} 2\n"
            f"sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 3000\n"
        )

    def _begin(self, log: int) -> subprocess.Popen[bytes]:
        command = [str(redis_program()), str(self.folder / "sentinel.conf"), "--sentinel"]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        try:
            with Redis(host="127.0.0.1", port=self.port) as client:
                return bool(client.ping())
        except RedisError:
            return False

    def sees(self) -> tuple[int, int]:
        """Other sentinels, and replicas."""
        with Redis(host="127.0.0.1", port=self.port) as client:
            state = client.sentinel_master(MASTER)
            return state["num-other-sentinels"], state["num-slaves"]


@contextlib.contextmanager
def sentinels() -> Iterator[Deployment]:
    with contextlib.ExitStack() as stack:
        master, replica = (stack.enter_context(RedisServer(**{"repl-diskless-sync-delay": "0"})) for _ in range(2))
        those = Deployment("", (master, replica))
        those.ask(1, "REPLICAOF", "127.0.0.1", master.port)
        watching = [stack.enter_context(Sentinel(master.port)) for _ in range(3)]
        _wait(lambda: all(each.sees() == (2, 1) for each in watching))
        nodes = ",".join(f"127.0.0.1:{each.port}" for each in watching)
        yield Deployment(f"redis+sentinel://{nodes}/{MASTER}", those.servers)


@contextlib.contextmanager
def cluster() -> Iterator[Deployment]:
    with contextlib.ExitStack() as stack:
        servers = []
        for _ in range(3):
            server = RedisServer(**{"cluster-enabled": "yes", "cluster-node-timeout": "2000"})
            server.port = _port_with_bus()
            servers.append(stack.enter_context(server))
        nodes = ",".join(f"127.0.0.1:{each.port}" for each in servers)
        those = Deployment(f"redis+cluster://{nodes}", tuple(servers))
        for index in range(3):
            slots = range(index * SLOTS // 3, (index + 1) * SLOTS // 3)
            those.ask(index, "CLUSTER", "ADDSLOTS", *slots)
            those.ask(index, "CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            those.ask(0, "CLUSTER", "MEET", "127.0.0.1", servers[index].port)
        _wait(lambda: all(is_up(those, index) for index in range(3)))
        yield those


def is_up(those: Deployment, index: int) -> bool:
    said = those.ask(index, "CLUSTER", "INFO")
    assert isinstance(said, bytes)
    return b"cluster_state:ok" in said and b"cluster_known_nodes:3" in said


def _wait(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "they do not find each other"
        time.sleep(0.05)


def _port_with_bus() -> int:
    """A free one, with a free one 10,000 above it for the nodes among themselves."""
    for port in range(20_000 + time.monotonic_ns() % 10_000, 45_000):
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port
    raise RuntimeError("no port is free")
