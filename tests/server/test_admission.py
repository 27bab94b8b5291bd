"""Limits of tenants over all workers, overload, and the refusals of keys that the front says by itself."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from server.front.admission import TEXTS, Admission, Tenant
from server.front.protocol import Front
from server.http.listener import Runner
from server.processes.worker import data_plane
from server.quotas import Quota, Quotas
from server.settings import Settings
from server.shared.page import LIMITS, Page
from server.state.catalog import Catalog
from server.streams import Streams
from server.types import KeyKind
from tests.server.conftest import add_key
from tests.server.running import BANK, BATCH, BULK, GAME, PATIENCE, SHOP, Running, running, until
from tests.server.shared.test_page import in_a_child
from tests.server.test_front import CONTEXT, FLAG, answers, connect, message, samples

MS = 1_000_000
SECOND = 1000 * MS
NO_LIMIT = Quota()
DEAR = 200_000  # nanoseconds that a request of these tests takes


def admission(page: Page | None = None, block: int = 0, quota: Quota = NO_LIMIT, shed_after: float = 0.01) -> Admission:
    page = page or Page(1)
    return Admission(page, page.block(block), Quotas(quota), shed_after=shed_after, call_soon=lambda _: None)


def taken(page: Page, what: str) -> int:
    return sum(page.block(index).limited().get(what, 0) for index in range(page.block_count))


def test_requests_are_counted_over_all_processes() -> None:
    page, now = Page(2), time.monotonic_ns()
    ours, theirs = (admission(page, block, Quota(requests_per_second=10)) for block in (0, 1))
    let_in = 0
    for each in (ours, theirs) * 10:
        let_in += each.refused(each.tenant("shop"), 0, now) is None
    assert let_in == 10
    assert ours.refused(ours.tenant("shop"), 0, now) == (LIMITS.index("requests"), 1)
    assert ours.refused(ours.tenant("bank"), 0, now) is None
    assert theirs.refused(theirs.tenant("shop"), 0, now + SECOND // 10) is None
    assert taken(page, "requests") == 11


def test_a_rate_is_one_for_processes_that_were_forked() -> None:
    page, now = Page(4), time.monotonic_ns()

    def work(block: int) -> None:
        ours = admission(page, block, Quota(requests_per_second=10))
        let_in = sum(ours.refused(ours.tenant("shop"), 0, now) is None for _ in range(8))
        page.block(block).count("evaluate", 200, more=let_in)

    for number in range(3):
        in_a_child(partial(work, number))
    assert sum(page.block(number).requests().get(("evaluate", 200), 0) for number in range(3)) == 10
    assert taken(page, "requests") == 14
    ours = admission(page, 3, Quota(requests_per_second=10))
    assert ours.refused(ours.tenant("bank"), 0, now) is None


def test_evaluations_are_paid_for_afterwards() -> None:
    page, now = Page(1), time.monotonic_ns()
    ours = admission(page, quota=Quota(evaluations_per_second=1000))
    tenant = ours.tenant("shop")
    assert ours.refused(tenant, 0, now) is None
    ours.charge(tenant, 5000, now)
    assert ours.refused(tenant, 0, now) == (LIMITS.index("evaluations"), 4)
    assert ours.refused(tenant, 0, now + 3999 * MS) == (LIMITS.index("evaluations"), 1)
    assert ours.refused(tenant, 0, now + 4000 * MS) is None
    ours.charge(tenant, 10**9, now)  # a million seconds
    refused = ours.refused(tenant, 0, now)
    assert refused is not None
    assert refused[1] > 900_000


def test_bytes_on_their_way() -> None:
    page, now = Page(2), time.monotonic_ns()
    ours, theirs = (admission(page, block, Quota(bytes_in_flight=1000)) for block in (0, 1))
    assert ours.refused(ours.tenant("shop"), 5000, now) is None, "one body may be larger, or it could never be sent"
    ours.hold(ours.tenant("shop"), 900)
    assert theirs.refused(theirs.tenant("shop"), 100, now) is None
    assert theirs.refused(theirs.tenant("shop"), 101, now) == (LIMITS.index("bytes"), 1)
    assert theirs.refused(theirs.tenant("shop"), 0, now) is None, "a body that is here takes no room"
    ours.hold(ours.tenant("shop"), -900)
    assert theirs.refused(theirs.tenant("shop"), 101, now) is None


def test_streams() -> None:
    page = Page(2)
    ours, theirs = (admission(page, block, Quota(streams=2)) for block in (0, 1))
    for block in (0, 1):
        assert ours.refused_stream(ours.tenant("shop")) is None
        page.block(block).hold(ours.tenant("shop").cell, streams=1)
    refused = theirs.refused_stream(theirs.tenant("shop"))
    assert refused is not None
    assert refused[0] == LIMITS.index("streams")
    page.block(0).hold(ours.tenant("shop").cell, streams=-1)
    assert theirs.refused_stream(theirs.tenant("shop")) is None


def test_who_is_warned_is_counted_and_let_pass() -> None:
    page, now = Page(1), time.monotonic_ns()
    quota = Quota(requests_per_second=1, evaluations_per_second=1, bytes_in_flight=1, streams=1, warn=True)
    ours = admission(page, quota=quota)
    tenant = ours.tenant("shop")
    ours.charge(tenant, 100, now)
    ours.hold(tenant, 10)
    page.block(0).hold(tenant.cell, streams=1)
    assert [ours.refused(tenant, 10, now) for _ in range(3)] == [None] * 3
    assert ours.refused_stream(tenant) is None
    counted = {"requests_warned": 2, "evaluations_warned": 3, "bytes_warned": 3, "streams_warned": 1}
    assert page.block(0).limited() == counted


class Loop:
    """Turns of an event loop in virtual time, in which so many requests of each tenant wait."""

    def __init__(self, ours: Admission) -> None:
        self.ours = ours
        self.now = 1000 * SECOND
        self.answered: dict[str, int] = {}
        self.shed: dict[str, int] = {}

    def turn(self, waiting: dict[str, int], cost: int = DEAR) -> float:
        """Milliseconds that it took."""
        queue: list[Tenant] = [self.ours.tenant(name) for name, count in waiting.items() for _ in range(count)]
        random.Random(3).shuffle(queue)
        begun = self.now
        self.ours.begin_turn(self.now)
        for tenant in queue:
            if self.ours.sheds(tenant, cost, self.now):
                self.shed[tenant.name] = self.shed.get(tenant.name, 0) + 1
                self.now += 5_000
            else:
                self.now += cost
                self.ours.took(tenant, cost)
                self.answered[tenant.name] = self.answered.get(tenant.name, 0) + 1
        self.ours.end_turn(self.now)
        return (self.now - begun) / MS


def test_a_burst_is_absorbed() -> None:
    loop = Loop(admission())
    assert loop.turn({"shop": 200}) == 40
    assert loop.turn({"shop": 2}) < 1
    loop.now += SECOND
    assert loop.turn({"shop": 200}) == 40
    assert not loop.shed


def test_long_turns_with_a_pause_between_them_are_no_overload() -> None:
    loop = Loop(admission())
    for _ in range(50):
        loop.turn({"shop": 150})
        loop.now += 20 * MS
    assert not loop.shed


def test_long_turns_in_a_row_are_cut_short_until_there_is_less_to_do() -> None:
    ours = admission()
    loop = Loop(ours)
    lengths = [loop.turn({"shop": 300}) for _ in range(10)]
    assert lengths[0] > 40
    assert max(lengths[3:]) < 15, "10 ms of answers, then refusals"
    answered = loop.answered["shop"]
    assert loop.shed["shop"] > 1000
    shed = loop.shed["shop"]
    assert [ours.overloaded, loop.turn({"shop": 20}), ours.overloaded] == [True, 4, False]
    assert loop.turn({"shop": 100}) == 20
    assert (loop.answered["shop"], loop.shed["shop"]) == (answered + 120, shed)


def test_who_uses_less_than_a_fair_share_is_answered() -> None:
    loop = Loop(admission())
    for _ in range(30):  # until it is seen who is in the way
        loop.turn({"flood": 400, "shop": 5, "bank": 3})
    loop.shed.clear()
    for _ in range(100):
        loop.turn({"flood": 400, "shop": 5, "bank": 3})
    assert set(loop.shed) == {"flood"}
    assert loop.answered["flood"] > 1000, "and so is the rest of the time used"


def test_equals_are_treated_alike() -> None:
    loop = Loop(admission())
    names = [f"tenant-{number}" for number in range(10)]
    for _ in range(300):
        loop.turn(dict.fromkeys(names, 30))
    shares = sorted(loop.answered.values())
    assert shares[-1] < 2 * shares[0]


def test_what_is_cheap_is_answered() -> None:
    """To refuse it would take as long."""
    loop = Loop(admission())
    for _ in range(50):
        loop.turn({"shop": 20_000}, cost=2000)
    assert not loop.shed


def test_few_large_requests_are_no_queue() -> None:
    loop = Loop(admission())
    for _ in range(50):
        loop.turn({"shop": 2, "bank": 2}, cost=80 * MS)
    assert not loop.shed


def test_it_can_be_switched_off() -> None:
    loop = Loop(admission(shed_after=0.0))
    for _ in range(50):
        loop.turn({"shop": 500})
    assert not loop.shed


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("limited")
    (folder / "quotas.yaml").write_text(
        """
default: {evaluationsPerSecond: 1}
tenants:
  shop: {bytesInFlight: 100_000, evaluationsPerSecond: 0}
  game: {requestsPerSecond: 0.001, mode: warn, evaluationsPerSecond: 0}
"""
    )
    with running(samples(folder), "--workers", "2", "--quotas", str(folder / "quotas.yaml")) as started:
        yield started


def metric(server: Running, name: str) -> float:
    lines = server.manage("/metrics").body.decode().splitlines()
    return sum(float(each.split()[-1]) for each in lines if each.startswith(name))


@pytest.mark.parametrize("more", [(), ("TE: x",)])  # the front, then aiohttp
def test_evaluations_over_the_quota(limited: Running, more: tuple[str, ...]) -> None:
    refused = 0
    with connect(limited) as connection:
        for _ in range(3):  # the first one may be within it
            connection.sendall(message(BATCH, b'{"contexts":[{},{}]}', *more, key=BANK))
            ((status, headers, body),) = answers(connection, 1)
            if status == 429:
                refused += 1
                assert json.loads(body) == {"errorDetails": TEXTS[LIMITS.index("evaluations")]}
                assert int(headers["retry-after"]) >= 1
    assert refused >= 2


@pytest.mark.parametrize("sliced", [False, True])
def test_a_batch_over_groups_is_one_request(tmp_path: Path, sliced: bool) -> None:
    """The front lets it in, and aiohttp answers it."""
    sent = message(BATCH, b'{"groups":[{"environment":"shop/web/production","contexts":[]}]}')
    with running(samples(tmp_path), "--tenant-requests", "0.001") as server, connect(server) as connection:
        connection.sendall(sent[:-9] if sliced else sent)
        if sliced:
            time.sleep(0.2)
            connection.sendall(sent[-9:])
        assert answers(connection, 1)[0][0] == 200
        connection.sendall(message())
        assert answers(connection, 1)[0][0] == 429


@pytest.mark.parametrize("more", [(), ("TE: x",)])
def test_bodies_on_their_way_over_the_quota(limited: Running, more: tuple[str, ...]) -> None:
    """Refused at the head; the connection can be used on. Another worker counts, too."""
    body = CONTEXT + b" " * 60_000
    sent = message(FLAG, body, *more)
    slow = [connect(limited) for _ in range(4)]

    def held() -> int:
        return int(limited.manage("/status?tenant=shop").json["limits"]["now"]["bytesInFlight"])

    try:
        slow[0].sendall(sent[:500])
        until(lambda: held() == len(body))
        for each in slow[1:]:
            each.sendall(sent[:500])
            ((status, headers, reply),) = answers(each, 1)
            assert (status, headers["retry-after"]) == (429, "1")
            assert json.loads(reply) == {"errorDetails": TEXTS[LIMITS.index("bytes")]}
        assert held() == len(body)
        slow[0].sendall(sent[500:])
        assert answers(slow[0], 1)[0][0] == 200
        until(lambda: held() == 0)
        slow[1].sendall(sent[500:] + message())  # the rest is of no interest, what follows it is
        assert answers(slow[1], 1)[0][0] == 200
        slow[2].sendall(sent[500:600])
        slow[2].close()
        slow[3].sendall(sent[500:-10])
        slow[3].sendall(sent[-10:] + sent)
        assert answers(slow[3], 1)[0][0] == 200
        until(lambda: held() == 0)
    finally:
        for each in slow:
            each.close()


def test_a_warned_tenant_is_answered(limited: Running) -> None:
    before = metric(limited, 'burgee_limited_total{limit="requests_warned"}')
    assert {limited.post(BULK, {"context": {}}, key=GAME).status for _ in range(20)} == {200}
    until(lambda: metric(limited, 'burgee_limited_total{limit="requests_warned"}') >= before + 18)
    told = [json.loads(each) for each in limited.log.read_text().splitlines() if "over its limit" in each]
    told = [each for each in told if each["tenant"] == "game"]
    assert 1 <= len(told) <= 2, "once a minute, in each worker"
    assert told[0]["refused"] is False


def test_a_large_body_with_a_key_that_opens_nothing(limited: Running) -> None:
    """It is refused before the body has come."""
    sent = message(FLAG, CONTEXT + b" " * 50_000, key="burgee_server_no")
    for more in (b"", b"Connection: close\r\n"):
        head = sent[:300].replace(b"Content-Type", more + b"Content-Type")
        with connect(limited) as connection:
            connection.sendall(head)
            assert answers(connection, 1)[0][0] == 401
            connection.sendall(sent[300:])
            if more:
                assert connection.recv(1) == b""
            else:
                connection.sendall(message())
                assert answers(connection, 1)[0][0] == 200


def test_refusals_of_keys_are_as_from_aiohttp(tenants: Path) -> None:
    (tenants / "acme" / "app.yaml").write_text("flags: {on: {type: boolean, variants: {yes: true}, fallthrough: yes}}")
    edge = add_key(tenants, kind=KeyKind.EDGE)
    unknown = add_key(tenants, project="other")  # whose project has no document, and so nothing
    presented = [edge, "junk", "burgee_server_x", unknown[:-1] + ("0" if unknown[-1] != "0" else "1")]

    def said(connection: socket.socket, key: str, *more: str) -> bytes:
        """All but the date."""
        connection.sendall(message(FLAG, CONTEXT, *more, key=key))
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(65536)
        return b"\r\n".join(each for each in answer.split(b"\r\n") if not each.startswith(b"Date: "))

    with running(tenants) as server:
        before = metric(server, "burgee_http_refused_keys_total")
        for key in presented:
            for close in ((), ("Connection: close",)):
                with connect(server) as front, connect(server) as behind:
                    if not close:
                        assert said(front, key) == said(front, key)
                    ours, theirs = said(front, key, *close), said(behind, key, "TE: x", *close)
                assert ours == theirs
                assert ours.startswith(b"HTTP/1.1 403 " if key == edge else b"HTTP/1.1 401 ")
        until(lambda: metric(server, "burgee_http_refused_keys_total") == before + 6 * len(presented))


def test_a_refused_key_is_good_once_it_is_published(tenants: Path) -> None:
    (tenants / "acme" / "app.yaml").write_text("flags: {on: {type: boolean, variants: {yes: true}, fallthrough: yes}}")
    add_key(tenants)
    path = tenants / "acme" / "app.keys.yaml"
    with running(tenants) as server, connect(server) as connection:
        before = path.read_bytes()
        key = add_key(tenants)
        after = path.read_bytes()
        path.write_bytes(before)

        def status() -> int:
            connection.sendall(message(f"{BULK}/on", key=key))
            return answers(connection, 1)[0][0]

        until(lambda: status() == 401)
        path.with_name("new").write_bytes(after)
        path.with_name("new").rename(path)
        until(lambda: status() == 200)


def test_no_key_is_refused_by_a_worker_that_knows_none(tmp_path: Path) -> None:
    """Its journal could not be read: callers give up for good on a 401, so they are told to come again."""

    async def said(*more: str) -> bytes:
        page = Page(1)
        page.ready, page.position = True, 1 << 48 | 99
        block, loop = page.block(0), asyncio.get_running_loop()
        catalog = Catalog(tmp_path, page, block, budget=1)
        ours = Admission(page, block, Quotas(), shed_after=0, call_soon=loop.call_soon)
        streams = Streams(catalog, page, block, longest=1, heartbeat=1)
        settings = Settings(tenants=tmp_path)
        app = data_plane(settings, catalog, block, streams, ours)
        runner = Runner(app, head_timeout=PATIENCE, keepalive_timeout=PATIENCE, shutdown_timeout=1)
        await runner.setup()
        front = Front(
            loop,
            catalog,
            page,
            block,
            ours,
            runner.protocol,
            max_body=999,
            head_timeout=PATIENCE,
            body_timeout=PATIENCE,
            keepalive_timeout=PATIENCE,
        )
        async with await loop.create_server(front, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(message(FLAG, CONTEXT, "Connection: close", *more))
            answer = await reader.read()
            writer.close()
        await runner.cleanup()
        return answer

    for more in ((), ("TE: x",)):
        answer = asyncio.run(said(*more))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"PROVIDER_NOT_READY"' in answer


def test_many_keys_that_open_nothing(limited: Running) -> None:
    """More than are remembered."""
    with connect(limited) as connection:
        connection.sendall(b"".join(message(key=f"junk-{number}") for number in range(1500)) + message(key=SHOP))
        found = answers(connection, 1501)
    assert {status for status, _, _ in found[:-1]} == {401}
    assert found[-1][0] == 200


def test_a_flood_of_work_is_shed_and_then_forgotten(tmp_path: Path) -> None:
    contexts = [{"targetingKey": f"u-{number}", "country": "DE"} for number in range(500)]
    sent = message(BATCH, json.dumps({"contexts": contexts}).encode())
    each_sends = 60

    async def caller(server: Running) -> list[tuple[int, str]]:
        reader, writer = await asyncio.open_connection(*server.address)
        found: list[tuple[int, str]] = []

        async def write() -> None:
            for _ in range(each_sends):
                writer.write(sent)
                await writer.drain()

        async def read() -> None:
            for _ in range(each_sends):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
                await reader.readexactly(int(fields["content-length"]))
                found.append((int(head.split()[1]), fields.get("retry-after", "")))

        await asyncio.gather(write(), read())
        writer.close()
        return found

    async def flood(server: Running) -> list[list[tuple[int, str]]]:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.gather(*(caller(server) for _ in range(20)))

    with running(samples(tmp_path), "--shed-after", "0.001") as server:
        found = Counter(one for each in asyncio.run(flood(server)) for one in each)
        assert found.total() == 20 * each_sends, "every request has its answer"
        assert {(200, ""), (503, "1"), (503, "2"), (503, "3")} == set(found)
        shed = sum(count for (status, _), count in found.items() if status == 503)
        assert metric(server, "burgee_shed_total") == shed
        until(lambda: not any(each["overloaded"] for each in server.manage("/status").json["workers"]))
        for _ in range(10):
            assert server.post(FLAG, CONTEXT, key=SHOP).status == 200
