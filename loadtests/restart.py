"""Kills, rolling restarts and drains under load: how soon there is a successor, and how many requests fail.

    python loadtests/restart.py

Callers with keep-alive connections ask as fast as they are answered; after `Connection: close` they open another. Of a
killed worker (SIGKILL), what was in flight may fail: at most one request of each connection. Else nothing may.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.server.processes.callers import Callers, calling, is_alive, workers_of  # noqa: E402
from tests.server.running import SAMPLES, Running, running, until  # noqa: E402


def replace_one(server: Running, workers: int) -> float:
    """Seconds from the kill of a worker until another is ready."""
    until(lambda: len(workers_of(server)) == workers)
    before = workers_of(server)
    started = time.monotonic()
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(now := workers_of(server)) == workers and now != before)
    return time.monotonic() - started


def roll(server: Running, workers: int) -> float:
    before = workers_of(server)
    started = time.monotonic()
    server.process.send_signal(signal.SIGHUP)
    until(lambda: len(now := workers_of(server)) == workers and not now & before)
    until(lambda: not any(is_alive(each) for each in before))
    return time.monotonic() - started


def said(what: str, callers: Callers, lost: int, answered: int, seconds: list[float]) -> None:
    print(
        f"{what}: {len(callers.lost) - lost} of {callers.answered - answered:,} requests failed;"
        f" median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--times", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tenants = Path(folder) / "tenants"
        tenants.symlink_to(SAMPLES)
        with (
            running(tenants, "--workers", str(options.workers)) as server,
            calling(server, options.connections) as callers,
        ):
            for what, work in (("killed workers", replace_one), ("rolling restarts", roll)):
                lost, answered = len(callers.lost), callers.answered
                seconds = [work(server, options.workers) for _ in range(options.times)]
                said(what, callers, lost, answered, seconds)
            lost, answered, started = len(callers.lost), callers.answered, time.monotonic()
            server.stop()
            said("drain", callers, lost, answered, [time.monotonic() - started])


if __name__ == "__main__":
    main()
