"""Behind real nginx and HAProxy: right answers, and no answer that belongs to another request, whatever is sent beside.

Each right request asks for a flag key of its own, which its answer repeats: one that is out of step with its upstream
connection cannot pass. Beside them the smuggling corpus goes through the same proxy, and mutations of it: 1,000 by
default, 20,000 with BURGEE_PROFILE=nightly.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from tests.server.live.corpus import MANY, ONE, SMUGGLING, VALID, message, mutated
from tests.server.live.proxies import MISSING, Address, Proxy, installed, proxy
from tests.server.running import BATCH, BULK, PATIENCE, SHOP, Running, running

MUTATED = 20_000 if os.environ.get("BURGEE_PROFILE") == "nightly" else 1_000
NAMES = ("nginx", "nginx-unbuffered", "haproxy")
ATTACKERS, VICTIMS = 24, 6
LISTENS = ("127.0.0.1", "unix")


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    for each in (request.param.partition("-")[0], "openssl"):
        if installed(each) is None:
            pytest.skip(f"{each} {MISSING}")
    return str(request.param)


@pytest.fixture(scope="module", params=LISTENS)
def server(
    own_samples: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Running]:
    arguments: tuple[str, ...] = ()
    if request.param == "unix":
        arguments = ("--unix-socket", str(tmp_path_factory.mktemp("socket") / "burgee.sock"))
    with running(own_samples(), *arguments, "--head-timeout", "5", "--body-timeout", "5") as started:
        yield started


@pytest.fixture(scope="module")
def front(name: str, server: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    unix = next((each for each in server.process.args if str(each).endswith(".sock")), None)  # type: ignore[union-attr]
    upstream = str(unix) if unix else ":".join(map(str, server.address))
    with proxy(name, tmp_path_factory.mktemp(name), upstream) as started:
        yield started


def ask(address: Address, path: str, body: bytes, certificate: Path | None, **headers: str) -> tuple[int, bytes, str]:
    connection: http.client.HTTPConnection
    if certificate is None:
        connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    else:
        trusting = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection(*address, timeout=PATIENCE, context=trusting)
    sent = {"Content-Type": "application/json", "Authorization": f"Bearer {SHOP}", **headers}
    try:
        for _ in range(2):  # the second on the same connection
            connection.request("POST", path, body, sent)
            answer = connection.getresponse()
            found = answer.status, answer.read(), answer.headers.get("ETag", "")
        return found
    finally:
        connection.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_right_answers(server: Running, front: Proxy, tls: bool) -> None:
    address, certificate = (front.tls, front.certificate) if tls else (front.plain, None)
    large = json.dumps({"contexts": [{"targetingKey": str(n), "f": "x" * 90} for n in range(5_000)]}).encode()
    for path, body, headers in (
        (f"{BULK}/new-checkout", ONE, {}),
        (f"{BULK}/nope", ONE, {}),
        (BULK, ONE, {}),
        (BULK, b"{", {}),
        (BATCH, MANY, {}),
        (BATCH, MANY, {"Accept": "application/msgpack"}),
        (BATCH, large, {}),
    ):
        direct = server.post(path, body, key=SHOP, headers=headers)
        assert ask(address, path, body, certificate, **headers)[:2] == (direct.status, direct.body)
    tag = ask(address, BULK, ONE, certificate)[2]
    assert ask(address, BULK, ONE, certificate, **{"If-None-Match": tag}) == (304, b"", tag)


class Attack(asyncio.Protocol):
    """Sends one message and waits a little for what comes of it."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        assert b"victim" not in data
        self.ended.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set()


async def attack(address: Address, queue: list[bytes]) -> None:
    while queue:
        whole = queue.pop()
        transport, attacker = await asyncio.get_running_loop().create_connection(Attack, *address)
        transport.write(whole)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(attacker.ended.wait(), 0.3)
        transport.abort()


async def be_asked(address: Address, number: int, done: asyncio.Event) -> int:
    """Right requests one after the other, on one connection for as long as the proxy keeps it."""
    asked = 0
    while not done.is_set() or asked < 50:
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(200):
            key = f"victim-{number}-{asked}"
            writer.write(message(f"{BULK}/{key}"))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            assert head.startswith(b"HTTP/1.1 404 ") and json.loads(body)["key"] == key, (key, head, body)
            asked += 1
            if b"connection: close" in head.lower():
                break
        writer.close()
    return asked


def test_no_answer_belongs_to_another_request(server: Running, front: Proxy) -> None:
    rng = random.Random(20261122)
    queue = [*SMUGGLING.values(), *VALID] * 2 + [mutated(rng) for _ in range(MUTATED)]
    rng.shuffle(queue)

    async def all_of_them() -> list[int]:
        done = asyncio.Event()
        victims = [asyncio.create_task(be_asked(front.plain, number, done)) for number in range(VICTIMS)]
        await asyncio.gather(*(attack(front.plain, queue) for _ in range(ATTACKERS)))
        done.set()
        return await asyncio.gather(*victims)

    assert sum(uvloop.run(all_of_them())) >= 50 * VICTIMS
    assert server.process.poll() is None and front.process.poll() is None
    assert not re.search(rb'status="5\d\d"\} [1-9]', server.manage("/metrics").body)
