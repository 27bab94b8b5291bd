"""Redis dies, stops, forgets, comes back as it was an hour ago, or is told lies: it is a cache and a doorbell.

One host has Redis alone: what it has at the end came through what was done to it.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable

import pytest
from redis import Redis

from tests.chaos.history import violations
from tests.chaos.host import scaled, until
from tests.chaos.world import World
from tests.services import RedisServer

SECONDS = scaled(1, 60)  # of each fault


def killed(redis: RedisServer) -> None:
    redis.kill()
    time.sleep(SECONDS)
    redis.start()


def stopped(redis: RedisServer) -> None:
    redis.pause()
    time.sleep(SECONDS)
    redis.resume()


def flushed(redis: RedisServer) -> None:
    with Redis.from_url(redis.url) as client:
        for _ in range(scaled(2, 20)):
            client.flushall()
            time.sleep(0.5)


def replaced_by_older_data(redis: RedisServer) -> None:
    dump, kept = redis.folder / "dump.rdb", redis.folder / "older.rdb"
    with Redis.from_url(redis.url) as client:
        client.save()
        shutil.copyfile(dump, kept)
        before = client.hgetall("burgee:listing")
        assert before, "the relay fills it"
        time.sleep(SECONDS)
    redis.kill()
    shutil.copyfile(kept, dump)
    redis.start()
    dump.unlink()


def doorbells_dropped(redis: RedisServer) -> None:
    """Whoever listens is thrown out again and again."""
    deadline = time.monotonic() + SECONDS + 1
    with Redis.from_url(redis.url) as client:
        while time.monotonic() < deadline:
            client.client_kill_filter(_type="pubsub")
            time.sleep(0.02)


@pytest.mark.parametrize("fault", [killed, stopped, flushed, replaced_by_older_data, doorbells_dropped])
def test_a_fault_of_redis(through_redis: World, fault: Callable[[RedisServer], None]) -> None:
    redis = through_redis.redis
    assert redis is not None
    with through_redis.run() as history:
        time.sleep(0.5)
        before = len(history.published)
        fault(redis)
        until(lambda: len(history.published) > before + 1, "publishing goes on")
        seconds = through_redis.settle(history, least=through_redis.newest())
    assert violations(history) == []
    print(f"\n{fault.__name__}: converged {seconds:.2f} s after its end; {len(history.answers)} evaluations, none lost")


def test_everything_at_once_and_again(through_redis: World) -> None:
    """Faults that overlap: Redis flushed and killed while the control plane and the agents die."""
    redis = through_redis.redis
    assert redis is not None
    stop = threading.Event()

    def agents() -> None:
        while not stop.wait(0.7):
            for host in through_redis.hosts:
                host.kill_slot("burgee-agent")

    with through_redis.run() as history:
        killer = threading.Thread(target=agents)
        killer.start()
        try:
            for _ in range(scaled(1, 10)):
                flushed(redis)
                through_redis.near.kill_slot("burgee-control")
                killed(redis)
        finally:
            stop.set()
            killer.join()
        seconds = through_redis.settle(history, least=through_redis.newest())
    assert violations(history) == []
    print(f"\nall at once: converged {seconds:.2f} s after its end; {len(history.answers)} evaluations, none lost")
