"""The control plane or its database dies in the middle of publishes: none is lost, none is there twice."""

from __future__ import annotations

import time

from tests.chaos.history import violations
from tests.chaos.host import scaled, until
from tests.chaos.world import World

PUBLISHES = scaled(20, 1000)
KILLS = scaled(3, 10)


def test_the_control_plane_is_killed_amid_publishes(embedded: World) -> None:
    with embedded.run() as history:
        first = len(history.published)
        for kill in range(KILLS):
            due = first + (kill + 1) * PUBLISHES // (KILLS + 1)
            until(lambda due=due: len(history.published) >= due, f"{due} publishes")  # type: ignore[misc]
            embedded.near.kill_slot("burgee-control")
        until(lambda: len(history.published) >= first + PUBLISHES, f"{PUBLISHES} publishes")
        seconds = embedded.settle(history, least=embedded.newest())
    assert violations(history) == []
    done = len(history.published) - first
    print(f"\n{KILLS} kills in {done} publishes: converged in {seconds:.2f} s; {len(history.answers)} evaluations")


def test_agents_and_workers_are_killed_amid_publishes(embedded: World) -> None:
    with embedded.run() as history:
        for number in range(scaled(2, 20)):
            for host in embedded.hosts:
                host.kill_slot("burgee-agent")
                with embedded.killing():
                    host.kill_worker(number)
        seconds = embedded.settle(history, least=embedded.newest())
    assert violations(history) == []
    longest = max(each.longest for each in embedded.callers)
    print(f"\nconverged in {seconds:.2f} s; {len(history.answers)} evaluations, the longest took {longest:.2f} s")


def test_the_database_is_killed_and_comes_back(through_redis: World) -> None:
    postgres = through_redis.postgres
    assert postgres is not None
    with through_redis.run() as history:
        for _ in range(scaled(1, 5)):
            time.sleep(0.5)
            postgres.kill()
            time.sleep(scaled(1, 60))
            postgres.start()
        since = time.monotonic()
        before = len(history.published)
        until(lambda: len(history.published) > before, "publishing goes on")
        print(f"\npublishing goes on {time.monotonic() - since:.2f} s after Postgres is there again")
        seconds = through_redis.settle(history, least=through_redis.newest())
    assert violations(history) == []
    print(f"converged in {seconds:.2f} s; {len(history.answers)} evaluations, none lost")


def test_the_database_stops_answering_and_goes_on(through_redis: World) -> None:
    postgres = through_redis.postgres
    assert postgres is not None
    with through_redis.run() as history:
        time.sleep(0.3)
        postgres.pause()
        time.sleep(scaled(1, 60))
        postgres.resume()
        seconds = through_redis.settle(history, least=through_redis.newest())
    assert violations(history) == []
    print(f"\nconverged {seconds:.2f} s after Postgres goes on; {len(history.answers)} evaluations, none lost")
