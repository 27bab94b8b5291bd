"""Event streams held by two workers while a publish reaches all of them.

    python loadtests/streams.py            (5,000 streams; no other tool is needed)

Connects from one process with epoll, then replaces a document by renaming, and takes the time from the rename to the
event on each stream: looking at the folder (--poll-interval 0.05), compiling and publishing are in it. Memory is the
workers' proportional set size (smaps_rollup), before the first stream and with all of them. Then clients end half of
the streams, and one more publish must reach the rest.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import shutil
import socket
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that it runs as a script

from loadtests.processes import ROOT, WORKER, Server, serving, tree

KEY = "burgee_server_DemoShopServer00_ADemoKeyThatEverybodyKnows000000000000000002e3IFk"
EVENT = b"refetchEvaluation"
PATIENCE = 60.0  # seconds


def offered_address(data: str) -> str:
    request = urllib.request.Request(
        f"{data}/ofrep/v1/evaluate/flags",
        b'{"context":{}}',
        {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    for _ in range(200):
        try:
            with urllib.request.urlopen(request) as reply:
                uri: str = json.load(reply)["eventStreams"][0]["endpoint"]["requestUri"]
                return uri
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the server did not come to answer")


def memory_of_workers(server: Server) -> int:
    """Bytes of proportional set size."""
    return sum(each.memory() for each in tree(server.pid) if each.name == WORKER)


def connect(address: tuple[str, int], uri: str, count: int, poll: select.epoll) -> dict[int, socket.socket]:
    """Streams that have their first bytes; a hundred at a time."""
    request = f"GET {uri} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n".encode()
    streams: dict[int, socket.socket] = {}
    while len(streams) < count:
        new = []
        for _ in range(min(100, count - len(streams))):
            one = socket.create_connection(address, timeout=PATIENCE)
            one.sendall(request)
            new.append(one)
        for one in new:
            begun = b""
            while EVENT not in begun:  # of what was missed since version 0
                part = one.recv(4096)
                if not part:
                    raise SystemExit(f"a stream was refused: {begun!r}")
                begun += part
            one.setblocking(False)
            poll.register(one, select.EPOLLIN)
            streams[one.fileno()] = one
    return streams


def publish_and_wait(document: Path, text: str, streams: dict[int, socket.socket], poll: select.epoll) -> list[float]:
    """Seconds from the rename to each stream's event."""
    aside = document.with_name(f".{document.name}")
    aside.write_text(text)
    started = time.perf_counter()
    aside.rename(document)
    took: dict[int, float] = {}
    while len(took) < len(streams) and time.perf_counter() - started < PATIENCE:
        ready = poll.poll(1.0, len(streams))
        now = time.perf_counter() - started
        for descriptor, _ in ready:
            if EVENT in streams[descriptor].recv(4096):
                took.setdefault(descriptor, now)
    if len(took) < len(streams):
        raise SystemExit(f"{len(streams) - len(took)} streams heard nothing")
    return sorted(took.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--publishes", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "examples" / "tenants", folder / "tenants")
        document = folder / "tenants" / "shop" / "web.yaml"
        text = document.read_text()
        quick = ("--poll-interval", "0.05", "--settle-time", "0")
        with serving(folder / "tenants", "--workers", str(options.workers), *quick, log=folder / "log") as server:
            figures = measure(server, document, text, options)
    if options.json:
        print(json.dumps(figures))
        return
    opened = figures["opened_per_second"]
    print(f"{figures['streams']:,} streams on {options.workers} workers, {opened:,.0f} opened a second")
    print(f"memory of the workers: {figures['kilobytes_per_stream']:.2f} kB for each stream")
    for label in ("first", "median", "last"):
        print(f"from the rename to the {label} stream's event: {figures[f'{label}_ms']:.1f} ms (median of publishes)")
    print(f"between the first and the last: {figures['last_ms'] - figures['first_ms']:.1f} ms")


def measure(server: Server, document: Path, text: str, options: argparse.Namespace) -> dict[str, Any]:
    address = ("127.0.0.1", server.port)
    uri = offered_address(server.data)
    poll = select.epoll()
    warm = connect(address, uri, 200, poll)  # what the first ones cost once is not theirs
    publish_and_wait(document, f"{text}# warm\n", warm, poll)
    let_go(warm, poll)
    before = memory_of_workers(server)
    started = time.perf_counter()
    streams = connect(address, uri, options.streams, poll)
    opened = options.streams / (time.perf_counter() - started)
    took = [publish_and_wait(document, f"{text}# {n}\n", streams, poll) for n in range(options.publishes)]
    memory = memory_of_workers(server) - before
    half = {descriptor: each for descriptor, each in streams.items() if descriptor % 2}
    let_go(half, poll)
    publish_and_wait(document, f"{text}# rest\n", {each: streams[each] for each in streams.keys() - half.keys()}, poll)
    let_go({each: streams[each] for each in streams.keys() - half.keys()}, poll)
    return {
        "streams": options.streams,
        "opened_per_second": opened,
        "kilobytes_per_stream": memory / options.streams / 1000,
        "first_ms": 1000 * statistics.median(each[0] for each in took),
        "median_ms": 1000 * statistics.median(each[len(each) // 2] for each in took),
        "last_ms": 1000 * statistics.median(each[-1] for each in took),
    }


def let_go(streams: dict[int, socket.socket], poll: select.epoll) -> None:
    for each in streams.values():
        poll.unregister(each)
        each.close()


if __name__ == "__main__":
    main()
