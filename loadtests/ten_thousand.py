"""Ten thousand tenants on one host: memory, first answers, a neighbour's reloads, eviction, restart, an idle agent.

    python loadtests/ten_thousand.py                                     (some minutes, most of them for compiling once)
    python loadtests/ten_thousand.py --tenants 300 --folder build/few    (a folder is filled once, and used again)

One generated document of 100 flags is every tenant's; each has a key of its own. The state folder is filled by the
server itself. Everything else is measured on a server that was started on the full folder.
"""

from __future__ import annotations

import argparse
import json
import math
import socket
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.flags import bodies, document  # noqa: E402
from loadtests.processes import WORKER, Member, Server, free_port, serving, tree  # noqa: E402
from server import keys  # noqa: E402
from server.sources import key_file  # noqa: E402
from server.types import KeyKind, ProjectId  # noqa: E402

FLAG = "/ofrep/v1/evaluate/flags/flag-00000"


def key_of(number: int) -> str:
    return keys.assemble(KeyKind.SERVER, f"{number:016d}", f"{number:043d}")


def fill(folder: Path, tenants: int, flags: int) -> Path:
    """The folder of tenants; what is there already is left."""
    content = json.dumps(document(flags)).encode()
    for number in range(tenants):
        tenant = folder / "tenants" / f"t{number:05d}"
        if tenant.exists():
            continue
        tenant.mkdir(parents=True)
        (tenant / "app.json").write_bytes(content)
        key = key_of(number)
        record = key_file.KeyRecord(
            selector=keys.selector_of(key) or "",
            sha256=keys.digest_of(key).hex(),
            kind=KeyKind.SERVER,
            environments=("default",),
            created=key_file.now(),
        )
        path = key_file.path_of(folder / "tenants", ProjectId(tenant.name, "app"))
        path.write_bytes(key_file.render(key_file.KeyFile((record,))))
    return folder / "tenants"


@dataclass(frozen=True)
class Started:
    server: Server
    seconds: float  # until it was ready
    first: float  # seconds until the first answer


@contextmanager
def starting(tenants: Path, *options: str) -> Iterator[Started]:
    """A server on a port that is known before it listens, so that it can be asked from the beginning."""
    port, begun = free_port(), time.monotonic()
    first: list[float] = []

    def ask() -> None:
        while not first:
            taken = _first_answer(("127.0.0.1", port), begun)
            if not math.isnan(taken) or stop.wait(0.02):
                first.append(taken)

    stop = Event()
    thread = Thread(target=ask, daemon=True)
    thread.start()
    try:
        with serving(tenants, "--port", str(port), *options, log=tenants.parent / "server.log") as server:
            seconds = time.monotonic() - begun
            thread.join(60)
            yield Started(server, seconds, first[0] if first else math.nan)
    finally:
        stop.set()


def fetch(server: Server, path: str) -> bytes:
    with urllib.request.urlopen(server.management + path, timeout=60) as answer:
        return bytes(answer.read())


def workers_of(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fetch(server, "/status?limit=1"))["workers"]
    return found


def agent_of(server: Server) -> Member:
    return next(each for each in tree(server.pid) if each.name == "burgee-agent")


def _first_answer(address: tuple[str, int], started: float) -> float:
    try:
        with Client(address) as client:
            client.ask(0)
            return time.monotonic() - started
    except (OSError, SystemExit):
        return math.nan


class Client:
    """One keep-alive connection that asks one flag for one context."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, tenant: int, path: str = FLAG, context: int = 0) -> tuple[float, bytes]:
        """(seconds, body)"""
        body = bodies()[context]
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key_of(tenant)}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        sent = head.encode() + body
        started = time.perf_counter()
        self._socket.sendall(sent)
        answer = self._socket.recv(1 << 20)
        while (end := answer.find(b"\r\n\r\n")) < 0 or len(answer) < end + 4 + _length_of(answer[:end]):
            part = self._socket.recv(1 << 20)
            if not part:
                raise OSError("the server closed the connection")
            answer += part
        taken = time.perf_counter() - started
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"tenant {tenant}: {answer[:300]!r}")
        return taken, answer[end + 4 :]


def _length_of(head: bytes) -> int:
    return int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])


def client_of_each_worker(stack: ExitStack, server: Server) -> list[Client]:
    """Connections are opened until every worker has one."""
    clients: dict[int, Client] = {}
    before = {each["pid"]: each["connections"] for each in workers_of(server)}
    while len(clients) < len(before):
        client = stack.enter_context(Client(("127.0.0.1", server.port)))
        client.ask(0)
        time.sleep(1.5)  # workers say once a second how many connections they have
        after = {each["pid"]: each["connections"] for each in workers_of(server)}
        for pid, count in after.items():
            if count > before[pid]:
                clients.setdefault(pid, client)
        before = after
    return list(clients.values())


def memory_of_workers(server: Server) -> str:
    """Of all together: what they share counts once."""
    return f"{sum(each.memory() for each in tree(server.pid) if each.name == WORKER) / 1e6:.0f} MB"


def percentile(taken: Sequence[float], share: float) -> float:
    return sorted(taken)[min(len(taken) - 1, int(share * len(taken)))]


def said(taken: Sequence[float]) -> str:
    return f"p50 {1e3 * statistics.median(taken):.2f} ms, p99 {1e3 * percentile(taken, 0.99):.2f} ms"


def p99_beside_reloads(client: Client, tenants: Path, other: int, seconds: float, reloads: bool) -> list[float]:
    """Tenant `other` is asked for a while; tenant 0 gets another document each second, or not."""
    taken: list[float] = []
    path = tenants / "t00000" / "app.json"
    content = path.read_bytes()
    end, next_reload = time.monotonic() + seconds, time.monotonic() + 0.2
    while time.monotonic() < end:
        if reloads and time.monotonic() >= next_reload:
            next_reload += 1.0
            temporary = path.with_name(".app.json.new")
            temporary.write_bytes(content.rstrip() + b" " * (1 + int(time.time()) % 50))
            temporary.rename(path)
        taken.append(client.ask(other)[0])
        time.sleep(0.001)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--flags", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4, help="of 5 s with and without a neighbour's reloads")
    parser.add_argument("--folder", type=Path, help="kept, and used again; by default a temporary one")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measure(folder, options.tenants, options.flags, str(options.workers), options.rounds)


def measure(folder: Path, count: int, flags: int, workers: str, rounds: int) -> None:
    tenants = fill(folder, count, flags)
    with starting(tenants, "--workers", workers) as empty:
        print(f"first start: ready in {empty.seconds:.1f} s", flush=True)
    with ExitStack() as stack:
        full = stack.enter_context(starting(tenants, "--workers", workers))
        server = full.server
        print(f"start on a full folder: first answer in {full.first:.2f} s, ready in {full.seconds:.1f} s", flush=True)
        clients = client_of_each_worker(stack, server)
        print(f"all workers before anything is asked: {memory_of_workers(server)}")
        order = sorted(range(1, count), key=lambda number: number * 7919 % count)
        for name in ("first answer of a tenant", "second answer"):
            taken = [client.ask(number)[0] for number in order for client in clients]
            print(f"{name}, {len(clients)} workers: {said(taken)}", flush=True)
        print(f"all workers after every tenant was asked: {memory_of_workers(server)}")
        print(f"the agent: {agent_of(server).memory() / 1e6:.0f} MB")
        answers = [clients[0].ask(number, context=number % 100)[1] for number in order[:500]]
        for path in ("/status?limit=100", "/status?limit=1000", "/metrics"):
            started = time.perf_counter()
            fetch(server, path)
            print(f"{path}: {1e3 * (time.perf_counter() - started):.0f} ms")
        before = agent_of(server).seconds
        time.sleep(20)
        print(f"the agent when nothing changes: {(agent_of(server).seconds - before) / 20:.1%} of a core", flush=True)
        quiet: list[float] = []
        beside: list[float] = []
        for _ in range(rounds):
            quiet.append(percentile(p99_beside_reloads(clients[0], tenants, order[0], 5, False), 0.99))
            beside.append(percentile(p99_beside_reloads(clients[0], tenants, order[0], 5, True), 0.99))
        ratio = statistics.median(beside) / statistics.median(quiet)
        print(f"p99 beside a neighbour's reload each second: {ratio:.2f} x ({said(quiet)}; {said(beside)} of p99s)")
    budget = count * 2000  # of the 20 kB or so that each takes
    with ExitStack() as stack:
        server = stack.enter_context(
            serving(tenants, "--workers", workers, "--memory-budget", str(max(budget, 1 << 20)))
        )
        clients = client_of_each_worker(stack, server)
        for client in clients:
            found = [client.ask(number, context=number % 100)[1] for number in order[:500]]
            assert found == answers, "an answer differs"
            for number in order:
                client.ask(number)
        mapped = [each["mappedBytes"] for each in workers_of(server)]
        evictions = next(
            line
            for line in fetch(server, "/metrics").decode().splitlines()
            if line.startswith("burgee_snapshot_evictions_total")
        )
        print(
            f"with a budget of {budget / 1e6:.0f} MB: mapped {[f'{each / 1e6:.0f} MB' for each in mapped]}, {evictions}"
        )


if __name__ == "__main__":
    main()
