"""From the acknowledgement of a publish to the first answer from it, on every worker of a host and of an edge.

    python loadtests/propagation.py --flags 1000 --publishes 100 --edge --rate 2000

One flag of many is changed and published through the admin API again and again, while a caller on each worker asks it
without a pause. `--rate` asks the first host that often besides, from another process: 70 % of what it can is the rate
to look at.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import multiprocessing
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.flags import document  # noqa: E402
from loadtests.open_loop import Generator, Load  # noqa: E402
from loadtests.processes import Server, burgee  # noqa: E402
from loadtests.ten_thousand import Client, client_of_each_worker, fill, key_of, percentile  # noqa: E402

FLAG = "/ofrep/v1/evaluate/flags/marker"
PROJECT = "/api/v1/tenants/t00000/projects/app"


class Caller:
    """Asks without a pause, and notes when it first saw each value."""

    def __init__(self, client: Client, pause: float) -> None:
        self._client = client
        self._pause = pause
        self.seen: dict[int, float] = {}
        self.stop = Event()

    def work(self) -> None:
        while not self.stop.is_set():
            value = json.loads(self._client.ask(0, FLAG)[1])["value"]
            self.seen.setdefault(value, time.perf_counter())
            time.sleep(self._pause)


class Admin:
    """One connection to a control plane."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Any = None, etag: str = "") -> tuple[Any, str]:
        headers = self._headers | ({"If-Match": etag} if etag else {})
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {content[:300]!r}")
        return json.loads(content), answer.headers.get("ETag", "")


def marker(number: int) -> dict[str, Any]:
    return {"type": "integer", "variants": {"a": number, "b": -1}, "offVariant": "b", "fallthrough": "a"}


def load(url: str, rate: float, seconds: float) -> None:
    """The whole life of the process that loads."""
    body = b'{"context":{"targetingKey":"u-1","country":"DE"}}'
    head = f"POST /ofrep/v1/evaluate/flags HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key_of(0)}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    asyncio.run(Generator(Load(url, (head.encode() + body,), rate, seconds)).run())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flags", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--publishes", type=int, default=100)
    parser.add_argument("--edge", action="store_true", help="with an edge one hop away")
    parser.add_argument("--redis", help="through this Redis")
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second beside it; 0: none")
    parser.add_argument("--pause", type=float, default=0.0005, help="seconds between an answer and the next request")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tenants = fill(folder, 1, 1)
        content = document(options.flags)
        content["flags"]["marker"] = marker(0)
        (tenants / "t00000" / "app.json").write_text(json.dumps(content))
        state = folder / "state"
        more = ("--redis", options.redis) if options.redis else ()
        started = stack.enter_context(
            burgee(
                "serve",
                state,
                "--import",
                str(tenants),
                "--control-port",
                "0",
                "--workers",
                str(options.workers),
                *more,
            )
        )
        admin = Admin(started.control, (state / "admin.key").read_text().strip())
        hosts: dict[str, Server] = {"the host itself": started}
        if options.edge:
            made, _ = admin.ask("POST", "/api/v1/tenants/t00000/keys", {"kind": "edge", "project": "app"})
            (folder / "edge.key").write_text(made["key"])
            away = ("--upstream", started.control, "--upstream-key-file", str(folder / "edge.key"))
            hosts["an edge, one hop away"] = stack.enter_context(
                burgee("edge", folder / "edge", "--workers", "1", *away)
            )
        callers = {
            name: [Caller(each, options.pause) for each in client_of_each_worker(stack, server)]
            for name, server in hosts.items()
        }
        if options.rate:
            seconds = options.publishes * 0.4 + 5
            process = multiprocessing.get_context("spawn").Process(
                target=load, args=(started.data, options.rate, seconds), daemon=True
            )
            process.start()
            stack.callback(process.kill)
            time.sleep(2)
        threads = [Thread(target=each.work, daemon=True) for some in callers.values() for each in some]
        for thread in threads:
            thread.start()
        taken, publishing = publish_all(admin, callers, options.publishes)
        for some in callers.values():
            for each in some:
                each.stop.set()
        for thread in threads:
            thread.join()
    print(f"one flag of {options.flags} published: {figures(publishing)} until it is acknowledged")
    for name, times in taken.items():
        print(f"from there until every worker answers from it: {figures(times)}: {name}")


def publish_all(
    admin: Admin, callers: dict[str, list[Caller]], publishes: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Of each host, seconds until its last worker; and of each publish until it was acknowledged."""
    taken: dict[str, list[float]] = {name: [] for name in callers}
    publishing: list[float] = []
    _, flag_tag = admin.ask("GET", f"{PROJECT}/flags/marker")
    environment, _ = admin.ask("GET", f"{PROJECT}/environments/default")
    version = environment["version"]
    for number in range(1, publishes + 1):
        _, flag_tag = admin.ask("PUT", f"{PROJECT}/flags/marker", marker(number), flag_tag)
        begun = time.perf_counter()
        done, _ = admin.ask("POST", f"{PROJECT}/environments/default/publish", {}, f'"{version}"')
        acknowledged = time.perf_counter()
        version = done["version"]
        publishing.append(acknowledged - begun)
        for name, some in callers.items():
            while not all(number in each.seen for each in some):
                time.sleep(0.002)
            last = max(each.seen[number] for each in some)
            taken[name].append(max(0.0, last - acknowledged))
        time.sleep(0.1)
    return taken, publishing


def figures(taken: list[float]) -> str:
    return f"p50 {1e3 * percentile(taken, 0.5):.1f} ms, p99 {1e3 * percentile(taken, 0.99):.1f} ms"


if __name__ == "__main__":
    main()
