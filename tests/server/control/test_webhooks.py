"""Webhooks arrive once, signed, and nowhere that is not public: a listener of our own counts who connects."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from server.control.webhook_addresses import allowed, whyever_not
from server.control.webhook_calls import Call, CallError, call
from server.control.webhooks import Webhooks
from server.record.audit import Actor, note
from server.record.database import Record
from server.record.schema import open_migrated
from server.record.tenants import create_tenant
from server.record.webhooks import create_webhook

BY = Actor("test")
LOOPBACK = allowed("127.0.0.0/8")
SECRET = "a-secret-of-the-tests"
OK = "HTTP/1.1 204 No Content\r\n\r\n"
PATIENCE = 30.0


def in_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        async def awaited() -> None:
            await test(**fixtures)

        asyncio.run(awaited())

    return run


class Listener:
    """Counts connections, keeps what was sent, and answers what it is told, the last again and again."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
            body = await reader.readexactly(int(headers["content-length"]))
            self.requests.append((headers, body))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer:
                writer.write(answer.format(port=self.port).encode())
                await writer.drain()
            else:
                await asyncio.sleep(PATIENCE)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(*answers: str) -> AsyncIterator[Listener]:
    listener = Listener(*(answers or (OK,)))
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()


@pytest.mark.parametrize(
    "address",
    """0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.9.9.9 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.8
    192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 255.255.255.255
    :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1
    2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0
    fec0::1 ff02::1 ff0e::1""".split(),
)
def test_an_address_that_is_not_public_is_none_to_call(address: str) -> None:
    assert whyever_not(address, ()) is not None


def test_public_addresses_and_those_that_the_operator_allows_may_be_called() -> None:
    assert whyever_not("8.8.8.8", ()) is None and whyever_not("2606:4700::1111", ()) is None
    allow = allowed("10.2.0.0/16, fd00::/64")
    assert whyever_not("10.2.9.9", allow) is None and whyever_not("fd00::9", allow) is None
    assert whyever_not("10.3.0.1", allow) is not None and whyever_not("fd00:0:0:1::9", allow) is not None
    with pytest.raises(ValueError, match="nonsense"):
        allowed("nonsense")


@pytest.mark.parametrize(
    "host", "127.0.0.1 localhost 2130706433 0x7f000001 0177.0.0.1 127.1 0 [::1] [::ffff:127.0.0.1]".split()
)
@in_a_loop
async def test_nobody_connects_to_this_machine(host: str) -> None:
    async with listening() as listener:
        with pytest.raises(CallError):
            await call(Call(f"http://{host}:{listener.port}/", SECRET, "publish", "shop-1", b"{}"), ())
        assert listener.connections == 0


@in_a_loop
async def test_a_call_is_signed_and_goes_to_the_address_that_was_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as listener:
        looked_up = []

        async def once(host: Any, port: Any, **_: Any) -> Any:
            looked_up.append(host)
            address = "127.0.0.1" if len(looked_up) == 1 else "127.0.0.2"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", once)
        url = f"http://hooks.example:{listener.port}/burgee?a=b"
        assert await call(Call(url, SECRET, "publish", "shop-1", b'{"a":1}'), LOOPBACK) == 204
        assert looked_up == ["hooks.example"]
    ((headers, body),) = listener.requests
    assert headers["host"] == f"hooks.example:{listener.port}" and body == b'{"a":1}'
    at, _, said = headers["burgee-signature"].removeprefix("t=").partition(",v1=")
    assert hmac.compare_digest(said, hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest())
    assert (headers["burgee-event"], headers["burgee-delivery"]) == ("publish", "shop-1")


@in_a_loop
async def test_one_bad_address_among_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as listener:

        async def both(host: Any, port: Any, **_: Any) -> Any:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("127.0.0.1", "10.0.0.1")]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
        with pytest.raises(CallError, match="not a public address"):
            await call(Call(f"http://hooks.example:{listener.port}/", SECRET, "publish", "shop-1", b"{}"), LOOPBACK)
        assert listener.connections == 0


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/other\r\nContent-Length: 0\r\n\r\n", False),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", False),
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", True),
        ("nonsense\r\n\r\n", True),
        ("", True),
    ],
    ids=["redirect", "404", "503", "no HTTP", "silence"],
)
@in_a_loop
async def test_an_answer_that_is_none_is_said_and_never_followed(answer: str, again: bool) -> None:
    async with listening(answer) as listener:
        url = f"http://127.0.0.1:{listener.port}/zqx-secret"
        with pytest.raises(CallError) as caught:
            await call(Call(url, SECRET, "publish", "shop-1", b"{}"), LOOPBACK, timeout=2.0)
        assert caught.value.again is again and "zqx" not in str(caught.value)
        assert listener.connections == 1


async def _hooked(record: Record, port: int, *events: str) -> None:
    async with record.change() as tx:
        await create_tenant(tx, "shop", title="", quotas={}, by=BY)
        await note(tx, BY, "environment.publish", "shop/web/production", {"version": 1}, tenant="shop")
        await create_webhook(tx, "shop", url=f"http://127.0.0.1:{port}/", secret=SECRET, events=events, by=BY)


async def _happens(record: Record, action: str, version: int) -> None:
    async with record.change() as tx:
        await note(tx, BY, action, "shop/web/production", {"version": version}, tenant="shop")


async def _until(listener: Listener, count: int) -> list[Any]:
    async with asyncio.timeout(PATIENCE):
        while len(listener.requests) < count:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)  # for one too many
    told = [msgspec.json.decode(body) for _, body in listener.requests]
    return sorted(told, key=lambda each: int(each["id"].partition("-")[2]))  # they may overtake each other


@in_a_loop
async def test_what_happens_is_told_once_of_however_many_control_planes(database_url: str) -> None:
    record, other = await open_migrated(database_url), await open_migrated(database_url)
    try:
        async with listening() as listener:
            await _hooked(record, listener.port, "publish", "canary.halt")
            first, second = Webhooks(record, LOOPBACK), Webhooks(other, LOOPBACK)
            for version, action in enumerate(("environment.rollback", "draft.approve", "canary.halt", "key.create"), 2):
                await _happens(record, action, version)
                await asyncio.gather(first.look(), second.look())
            told = await _until(listener, 2)
            assert [(each["event"], each["details"]["version"]) for each in told] == [
                ("publish", 2),
                ("canary.halt", 4),
            ]
            assert told[0]["action"] == "environment.rollback" and told[0]["target"] == "shop/web/production"
            await _happens(record, "environment.publish", 9)
            later = Webhooks(record, LOOPBACK)  # another process, which was not there when it happened
            await later.look()
            assert [each["details"]["version"] for each in await _until(listener, 3)] == [2, 4, 9]
    finally:
        await record.close()
        await other.close()


@in_a_loop
async def test_a_call_that_fails_is_tried_again_a_few_times(tmp_path: Any) -> None:
    record = await open_migrated(f"sqlite:///{tmp_path / 'record.db'}")
    try:
        failing = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
        async with listening(failing, failing, OK) as listener:
            await _hooked(record, listener.port, "publish")
            webhooks = Webhooks(record, LOOPBACK, pauses=(0.01, 0.01, 0.01))
            await _happens(record, "environment.publish", 2)
            await webhooks.look()
            told = await _until(listener, 3)
            assert listener.connections == 3 and {each["id"] for each in told} == {told[0]["id"]}
        async with listening(failing) as broken:
            async with record.change() as tx:
                await tx.exec_driver_sql(f"UPDATE webhooks SET url = 'http://127.0.0.1:{broken.port}/'")
            await _happens(record, "environment.publish", 3)
            await webhooks.look()
            await _until(broken, 4)
            assert broken.connections == 4
    finally:
        await record.close()
