"""The open-loop generator: what it counts is what happened, and what a server makes wait is seen."""

from __future__ import annotations

import random
import re
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from loadtests.histogram import Histogram
from loadtests.latency import Load, measure, measure_together
from loadtests.processes import Server
from loadtests.questions import KINDS, Kind, Question, question, settled
from loadtests.tenants import Keys
from tests.server.running import until

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def counted(server: Server) -> Counter[str]:
    """Requests by status, as the server counts them."""
    with urllib.request.urlopen(f"{server.management}/metrics", timeout=30) as answer:
        lines = re.findall(r'^burgee_http_requests_total\{.*status="(\d+)".*\} (\S+)$', answer.read().decode(), re.M)
    counts: Counter[str] = Counter()
    for status, count in lines:
        counts[status] += int(float(count))
    return counts


def load(server: Server, *asked: Question, rate: float = 200, seconds: float = 0.5) -> Load:
    host = f"127.0.0.1:{server.port}"
    return Load(server.data, tuple(each.message(host) for each in asked), rate=rate, seconds=seconds, connections=4)


@contextmanager
def answering(reply: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that gives each of its connections to `reply`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                reply(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_percentiles_are_those_of_the_values_within_a_thousandth() -> None:
    chosen = random.Random(7)
    values = sorted(chosen.lognormvariate(-7, 2) for _ in range(5_000))
    histogram = Histogram(values)
    for percent in (1, 25, 50, 90, 99, 100):
        assert histogram.percentile(percent) == pytest.approx(values[50 * percent - 1], rel=0.001, abs=2e-6)
    twice = Histogram()
    twice.add(histogram)
    twice.add(histogram)
    assert (twice.count, twice.percentile(50)) == (10_000, histogram.percentile(50))
    assert sum(count for _, count in histogram) == 5_000
    assert Histogram().percentile(99) == Histogram().highest == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_question_is_answered_rightly(kind: Kind, server: Server, keys: dict[str, Keys]) -> None:
    asked = settled(question(kind, keys["edge"]["server"], context=11), server.data)
    done = measure(replace(load(server, asked), check=lambda _, __, body: body == asked.answer))
    assert done.only(asked.status), done
    assert done.latency.count == done.intended == 100


def test_it_counts_as_the_server_does(server: Server, keys: dict[str, Keys]) -> None:
    right = question("single", keys["edge"]["server"])
    before = counted(server)
    unknown = replace(right, path="/ofrep/v1/evaluate/flags/nothing")
    nobody = replace(right, headers={"Content-Type": "application/json"})
    done = measure(replace(load(server, right, unknown, nobody), schedule="constant", keep=True))
    assert done.statuses == {200: 34, 401: 33, 404: 33}
    assert (done.failures, done.wrong, done.sent, done.reconnects) == ({}, 0, 100, 0)
    assert [each.status for each in sorted(done.outcomes)[:6]] == [200, 404, 401] * 2
    assert all(0 <= each.sent - each.due <= each.latency for each in done.outcomes)
    wanted = Counter({"200": 34, "401": 33, "404": 33})
    assert until(lambda: counted(server) - before == wanted)


def test_a_wrong_body_is_wrong(server: Server, keys: dict[str, Keys]) -> None:
    asked = question("single", keys["edge"]["server"])
    done = measure(replace(load(server, asked), check=lambda number, _, __: number % 10 != 0))
    assert (done.wrong, done.statuses, done.only(200)) == (10, {200: 100}, False)


def test_two_loads_at_the_same_time_are_counted_apart(server: Server, keys: dict[str, Keys]) -> None:
    one, other = (question("single", keys[tenant]["server"]) for tenant in ("edge", "noisy"))
    first, second = measure_together(load(server, one, rate=400), load(server, other, rate=100))
    assert first.statuses == {200: 200}
    assert second.statuses == {200: 50}


def test_a_stall_shows_in_all_the_requests_that_were_due_meanwhile() -> None:
    stall = 0.6
    seen = [0]

    def reply(connection: socket.socket) -> None:
        while connection.recv(65536):
            seen[0] += 1
            if seen[0] == 20:
                time.sleep(stall)
            connection.sendall(REPLY)

    with answering(reply) as url:
        done = measure(Load(url, (b"GET / HTTP/1.1\r\n\r\n",), 100, 1.0, connections=1, schedule="constant"))
    assert done.statuses == {200: 100}
    assert done.waited > 0
    # Some 60 were due while it stood still; only one of them was in flight.
    assert sum(count for seconds, count in done.latency if seconds > stall / 2) >= 20
    assert done.service.highest >= stall


def test_connections_that_are_closed_or_silent_are_failures_and_others_go_on() -> None:
    kinds = iter(["closes", "is silent", "is no HTTP", *["answers"] * 1_000])

    def reply(connection: socket.socket) -> None:
        kind = next(kinds)
        while connection.recv(65536):
            if kind == "closes":
                return
            if kind == "is no HTTP":
                connection.sendall(b"220 mail.example ESMTP\r\n\r\n")
            elif kind == "answers":
                connection.sendall(REPLY)

    with answering(reply) as url:
        done = measure(Load(url, (b"GET / HTTP/1.1\r\n\r\n",), 50, 1.0, connections=3, timeout=0.5, keep=True))
    assert done.failures["timeout"] >= 1 and done.failures["closed"] >= 1 and done.failures["malformed"] >= 1
    assert done.answered + sum(done.failures.values()) == done.intended == len(done.outcomes)
    assert done.answered >= 20 and done.reconnects >= 3
