"""What a server uses while it is under load: CPU and memory, twice a second, from a thread.

with watching(server.pid) as samples:
    …
samples     [Sample(at=1763827200.1, cores=0.41, bytes=83886080, processes=1), …]
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from loadtests.processes import usage

EVERY = 0.5  # seconds


class Sample(msgspec.Struct, frozen=True):
    at: float  # seconds since the epoch
    cores: float  # CPU seconds a second, of the whole server, since the sample before
    bytes: int


@contextmanager
def repeating(every: float, step: Callable[[], None]) -> Iterator[None]:
    """The step again and again in a thread, that many seconds apart."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(every):
            step()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def watching(pid: int) -> Iterator[list[Sample]]:
    samples: list[Sample] = []
    before, then = usage(pid), time.monotonic()

    def look() -> None:
        nonlocal before, then
        used, now = usage(pid, memory=True), time.monotonic()
        samples.append(Sample(time.time(), max(0.0, used.since(before).seconds / (now - then)), used.bytes))
        before, then = used, now

    with repeating(EVERY, look):
        yield samples
