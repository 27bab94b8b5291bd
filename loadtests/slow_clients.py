"""What slow clients cost the others: the latency of a right client alone, and beside thousands of slow ones.

    python loadtests/slow_clients.py --heads 2000 --bodies 500 --readers 500

An open-loop client (a request is due every so often, whatever became of those before; its latency counts from when it
was due) asks for one flag. Rounds alternate: alone; while the slow ones, which are another process and come back as
often as they are let go, are at another server; and beside them at the same one. All share the same cores: the second
shows what the slow ones cost the machine, so the figure is the p99 of the third over that of the second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs as a script

from loadtests.processes import ROOT, Server, serving, tree, usage

KEY = "burgee_server_DemoShopServer00_ADemoKeyThatEverybodyKnows000000000000000002e3IFk"
FLAG = "/ofrep/v1/evaluate/flags/new-checkout"
CONTEXT = b'{"context":{"targetingKey":"u-1","country":"DE"}}'
DRIP = 0.5  # seconds between two bytes of a slow client
ROUNDS = ("alone", "elsewhere", "beside")  # where the slow ones are
Address = tuple[str, int]


def message(path: str, body: bytes, length: int | None = None, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {KEY}"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body) if length is None else length}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Client(asyncio.Protocol):
    """One right request at a time, framed by its length."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[None] | None = None
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self.rest += data
        head, found, body = self.rest.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) if found else 1
        if len(body) >= length and self.answered is not None:
            self.rest = b""
            if head.startswith(b"HTTP/1.1 200 "):
                self.answered.set_result(None)
            else:
                self.answered.set_exception(RuntimeError(head.decode()))

    def connection_lost(self, error: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(error or ConnectionResetError("closed"))


async def measure(address: Address, rate: float, seconds: float) -> list[float]:
    """Latencies in seconds, from when each request was due."""
    loop = asyncio.get_running_loop()
    idle: list[Client] = []
    latencies: list[float] = []

    async def ask(due: float) -> None:
        client = idle.pop() if idle else (await loop.create_connection(Client, *address))[1]
        client.answered = loop.create_future()
        client.transport.write(message(FLAG, CONTEXT))
        await client.answered
        latencies.append(time.perf_counter() - due)
        idle.append(client)

    began = time.perf_counter()
    asking = set()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asking.add(asyncio.create_task(ask(due)))
    await asyncio.gather(*asking)
    for client in idle:
        client.transport.close()
    return latencies


class Slow(asyncio.Protocol):
    def __init__(self, first: bytes, drip: bytes, *, reads: bool) -> None:
        self.first, self.drip, self.reads = first, drip, reads
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if not self.reads:
            self.transport.pause_reading()
        self.transport.write(self.first)
        self.more()

    def more(self) -> None:
        if not self.lost.done() and not self.transport.is_closing():
            if self.drip:
                self.transport.write(self.drip)
            asyncio.get_running_loop().call_later(DRIP, self.more)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(None)


async def slow_ones(address: Address, heads: int, bodies: int, readers: int) -> None:
    big = json.dumps({"contexts": [{"targetingKey": str(n)} for n in range(200)]}).encode()
    expecting = message(FLAG, b"", len(CONTEXT), "Expect: 100-continue")
    kinds = [
        (heads // 2, b"POST /v1/evaluate HTTP/1.1\r\nHost: a\r\nX: ", b"y", True),
        (heads - heads // 2, b"GET / HTTP/1.1\r\nX: ", b"y", True),
        (bodies // 2, message("/v1/evaluate", b"", 100_000), b" ", True),
        (bodies - bodies // 2, expecting, b"", True),
        (readers, message("/v1/evaluate", big) * 20, b"", False),
    ]

    async def keep_on(first: bytes, drip: bytes, reads: bool, wait: float) -> None:
        await asyncio.sleep(wait)
        while True:
            try:
                _, slow = await asyncio.get_running_loop().create_connection(
                    lambda: Slow(first, drip, reads=reads), *address
                )
                await slow.lost
            except OSError:
                await asyncio.sleep(0.1)

    total = sum(count for count, *_ in kinds)
    await asyncio.gather(
        *(keep_on(first, drip, reads, 3 * n / total) for count, first, drip, reads in kinds for n in range(count))
    )


def be_slow(address: Address, heads: int, bodies: int, readers: int) -> None:
    uvloop.run(slow_ones(address, heads, bodies, readers))


@contextlib.contextmanager
def slow_clients(server: Server | None, options: argparse.Namespace) -> Iterator[None]:
    """They are there, and stay until the end."""
    if server is None:
        yield
        return
    arguments = (("127.0.0.1", server.port), options.heads, options.bodies, options.readers)
    process = multiprocessing.get_context("spawn").Process(target=be_slow, args=arguments)
    process.start()
    try:
        time.sleep(5.0)  # until all have come
        yield
    finally:
        process.kill()
        process.join()


def memory_of(server: Server) -> float:
    """Megabytes of all its processes, what they share counted once."""
    return usage(server.pid, memory=True).bytes / 2**20


def descriptors_of(server: Server) -> int:
    return sum(each.descriptors() for each in tree(server.pid))


def percentile(latencies: list[float], share: float) -> float:
    """Milliseconds."""
    return sorted(latencies)[min(len(latencies) - 1, int(len(latencies) * share))] * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=2_000, help="connections that drip a head")
    parser.add_argument("--bodies", type=int, default=500, help="that drip a body, or announce one that never comes")
    parser.add_argument("--readers", type=int, default=500, help="that ask for large answers and never read")
    parser.add_argument("--rate", type=float, default=500.0, help="right requests a second")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as name:
        tenants, same = (
            Path(shutil.copytree(ROOT / "examples" / "tenants", Path(name) / each / "tenants")) for each in "ab"
        )
        with serving(tenants, "--workers", "1") as server, serving(same, "--workers", "1") as other:
            right = ("127.0.0.1", server.port)
            latencies: dict[str, list[list[float]]] = {name: [] for name in ROUNDS}
            held = []
            idle = descriptors_of(server)
            uvloop.run(measure(right, options.rate, 2.0))
            before = most_held = memory_of(server)
            for _ in range(options.rounds):
                for name in ROUNDS:
                    slow_at = {"alone": None, "elsewhere": other, "beside": server}[name]
                    with slow_clients(slow_at, options):
                        latencies[name].append(uvloop.run(measure(right, options.rate, options.seconds)))
                        most_held = max(most_held, memory_of(server))
                        if name == "beside":
                            held.append(descriptors_of(server) - idle)
                    time.sleep(2.0)
    p99 = {name: statistics.median(percentile(each, 0.99) for each in rounds) for name, rounds in latencies.items()}
    p50 = {name: statistics.median(percentile(each, 0.5) for each in rounds) for name, rounds in latencies.items()}
    ratio = p99["beside"] / p99["elsewhere"]
    figures = {"p50_ms": p50, "p99_ms": p99, "ratio": ratio, "memory_mb": [before, most_held], "held": held}
    if options.json:
        print(json.dumps(figures))
        return
    slow_count = options.heads + options.bodies + options.readers
    for name in ROUNDS:
        print(f"{name:10}  p50 {p50[name]:7.2f} ms   p99 {p99[name]:7.2f} ms")
    print(f"{slow_count:,} slow clients; connections held at the end of each round: {held}")
    print(f"memory of the server: {before:.1f} MB, at most {most_held:.1f} MB")
    print(f"p99 beside slow clients is {ratio:.2f} x the p99 while they are at another server")


if __name__ == "__main__":
    main()
