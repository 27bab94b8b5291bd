"""Mixed load for a long time, and whether anything grows: memory, descriptors, threads, metric series.

    python -m loadtests.soak --minutes 30
    ->                      what         middle    last
        burgee-worker 1     memory       52.1 MB   52.4 MB   flat
        burgee-compiler 1   memory       61.0 MB   61.1 MB   flat
        …
        all                 descriptors  214       215       flat
        metrics             series       412       412       flat

Single flags, bulk answers and their 304s, batches, keys that nobody knows and broken bodies come at fixed rates,
connections come and go, and a document and a key file are rewritten every second. What is judged is the last third of
the run against the one before it, after a first third in which caches fill: what leaks grows in both. Exit status 1
when something grew, or an answer was wrong.

Flat means that the median of the last third is above that of the middle third by no more than

- memory, of each process, the one that compiles included: 3 %, or 2 MiB where that is more (an allocator's arenas);
- descriptors, of all processes together, since connections wander between workers, and threads, of each: 10 %, or 4;
- series of metrics: nothing.

A process that was replaced meanwhile is judged as its predecessor, whose name it has.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadtests.latency import Load, Measured, measure_together
from loadtests.processes import Server, add_server_options, end_on_sigterm, server_options, serving, tree
from loadtests.questions import BULK, Kind, question, settled
from loadtests.table import printed
from loadtests.tenants import Keys, numbered, prepare, write_document, write_tenant
from loadtests.watching import repeating

SAMPLES = 120  # over the run
SLACK: dict[
    str, tuple[float, float]
] = {  # what each may grow between two thirds of a run: a share, and at least so much
    "memory": (0.03, 2 << 20),
    "descriptors": (0.1, 4),
    "threads": (0.1, 4),
    "series": (0.0, 0),
}
RATES: dict[Kind, float] = {"single": 150.0, "bulk": 100.0, "unchanged": 100.0, "batch": 20.0}


@dataclass(frozen=True)
class Sample:
    """One process, all of them, or the metrics, at one moment: by `SLACK`'s names, what is judged of it.

    Memory in bytes, shared pages divided among those that share them.
    """

    name: str
    values: Mapping[str, int]


@dataclass(frozen=True)
class Growth:
    name: str
    what: str
    first: float  # median of the middle third
    last: float  # median of the last third
    flat: bool


def growths(samples: Sequence[Sequence[Sample]]) -> list[Growth]:
    """What each process had in the middle and the last third.

    >>> [(each.what, each.flat) for each in growths([[Sample("w", {"memory": 10 << 20, "threads": 2})]] * 6)]
    [('memory', True), ('threads', True)]
    """
    a_third = len(samples) // 3
    found = []
    for name in dict.fromkeys(each.name for sample in samples for each in sample):
        middle = [each for sample in samples[a_third : 2 * a_third] for each in sample if each.name == name]
        last = [each for sample in samples[2 * a_third :] for each in sample if each.name == name]
        if not middle or not last:
            continue  # it came or went; the supervisor's log says why
        for what in last[-1].values:
            share, least = SLACK[what]
            before, after = (statistics.median(each.values[what] for each in third) for third in (middle, last))
            found.append(Growth(name, what, before, after, after - before <= max(least, share * before)))
    return found


def sample(server: Server) -> list[Sample]:
    """Every process of the server by its name and number, and the metrics."""
    found, numbers, descriptors = [], dict[str, int](), 0
    for each in tree(server.pid):
        number = numbers[each.name] = numbers.get(each.name, 0) + 1
        with suppress(OSError):  # it ended meanwhile
            threads = len(os.listdir(f"/proc/{each.pid}/task"))
            descriptors += each.descriptors()
            found.append(Sample(f"{each.name} {number}", {"memory": each.memory(), "threads": threads}))
    with urllib.request.urlopen(f"{server.management}/metrics", timeout=30) as answer:
        series = sum(not line.startswith(b"#") for line in answer.read().splitlines())
    return [*found, Sample("all", {"descriptors": descriptors}), Sample("metrics", {"series": series})]


def loads(server: Server, made: dict[str, Keys], seconds: float) -> list[Load]:
    """Requests with known answers, and some that must be refused."""
    host = urlsplit(server.data).netloc
    found = []
    for kind, rate in RATES.items():
        asked = [settled(question(kind, made["edge"]["server"], context=number), server.data) for number in range(20)]

        def right(number: int, status: int, body: bytes, asked: list = asked) -> bool:  # type: ignore[type-arg]
            one = asked[number % len(asked)]
            return bool(status == one.status and body == one.answer)

        messages = tuple(each.message(host) for each in asked)
        # Every tenth connection is closed by its last answer, so that connections come and go.
        closing = messages[0].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        found.append(Load(server.data, (*messages[1:], closing), rate=rate, seconds=seconds, connections=4))
        found.append(Load(server.data, messages, rate=rate, seconds=seconds, connections=4, check=right))
    junk = [_post(host, BULK, f"burgee_server_{number:016d}_{'x' * 49}", b"{}") for number in range(500)]
    broken = [
        _post(host, BULK, made["edge"]["server"], body) for body in (b"{", b"[]", b"\xff", b'{"context": 1}', b"")
    ]
    return [
        *found,
        Load(server.data, tuple(junk), rate=50, seconds=seconds),
        Load(server.data, tuple(broken), rate=50, seconds=seconds),
    ]


def _post(host: str, path: str, key: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def rewriting(tenants: Path) -> AbstractContextManager[None]:
    """A document and a key file are other ones every second."""
    numbers = itertools.count(1)

    def rewrite() -> None:
        write_document(tenants, "reloaded", numbered(next(numbers)))
        write_tenant(tenants, "rekeyed", numbered(0))

    return repeating(1.0, rewrite)


def soak(seconds: float, *options: str) -> tuple[list[Growth], tuple[Measured, ...]]:
    with tempfile.TemporaryDirectory(prefix="burgee-soak-") as name:
        folder = Path(name)
        made = prepare(folder, "edge", "reload")
        made["rekeyed"] = write_tenant(folder / "tenants", "rekeyed", numbered(0))
        with serving(folder / "tenants", *options) as server, rewriting(folder / "tenants"):
            planned = loads(server, made, seconds)
            samples: list[list[Sample]] = []
            with repeating(max(0.5, seconds / SAMPLES), lambda: samples.append(sample(server))):
                measured = measure_together(*planned)
    return growths(samples), measured


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="of load (default: 1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_server_options(parser)
    options = parser.parse_args()
    end_on_sigterm()
    started = time.monotonic()
    found, measured = soak(options.minutes * 60, *server_options(options))
    good = all(each.flat for each in found) and not any(each.wrong or each.failures for each in measured)
    if options.json:
        answers = [{"statuses": each.statuses, "failures": each.failures, "wrong": each.wrong} for each in measured]
        print(json.dumps({"passed": good, "growth": [asdict(each) for each in found], "loads": answers}, default=dict))
    else:
        rows = [("", "what", "middle", "last", "")]
        for each in found:
            first, last = (
                f"{value / 2**20:.1f} MB" if each.what == "memory" else f"{value:g}"
                for value in (each.first, each.last)
            )
            rows.append((each.name, each.what, first, last, "flat" if each.flat else "GROWS"))
        print("\n".join(printed(rows)))
        requests = sum(sum(each.statuses.values()) for each in measured)
        wrong, failed = sum(each.wrong for each in measured), sum(sum(each.failures.values()) for each in measured)
        print(f"{requests:,} answers in {time.monotonic() - started:.0f} s, {wrong} wrong, {failed} requests failed")
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
