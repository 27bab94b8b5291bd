"""What the front accepts, llhttp and h11 accept too, with the same bytes consumed; what it refuses goes to aiohttp.

30,000 mutated requests by default, 1,000,000 with BURGEE_PROFILE=nightly.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field

import h11
import httptools
import pytest

from server.front.protocol import scan

MUTATIONS = 1_000_000 if os.environ.get("BURGEE_PROFILE") == "nightly" else 30_000
KEY = "burgee_server_DemoShopServer00_ADemoKeyThatEverybodyKnows000000000000000002e3IFk"
PATHS = ("/v1/evaluate", "/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/new-checkout")


def request(path: str = PATHS[2], body: bytes = b'{"context":{}}', drop: str = "", more: tuple[str, ...] = ()) -> bytes:
    headers = [
        "Host: flags.internal:8080",
        f"Authorization: Bearer {KEY}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    lines = [each for each in headers if not drop or not each.startswith(drop)]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, *more, "", ""]).encode() + body


ACCEPTED = [
    request(),
    request(PATHS[0]),
    request(PATHS[1]),
    request(body=b""),
    request(more=("Accept: */*", "Connection: keep-alive", "User-Agent: curl/8", 'If-None-Match: "abc", W/"d"')),
    request(more=("accept: application/msgpack",)),
    request(more=("Connection: close",)),
    request(more=("Burgee-Environment: staging", "X-Request-Id:  spaced\t out ", "Empty:")),
    request(more=("Origin: https://shop.example", "Sec-Fetch-Mode: cors", "Referer: https://shop.example/")),
    request(drop="Authorization", more=(f"X-API-Key: {KEY}",)),
    request(drop="Content-Type", more=("content-type:application/json; charset=utf-8",)),
]

REFUSED = [
    request("/"),
    request("/v1/evaluate?x=1"),
    request("/v1/evaluate/"),
    request("//v1/evaluate"),
    request("http://flags/v1/evaluate"),
    request("/ofrep/v1/evaluate/flags/"),
    request("/ofrep/v1/evaluate/flags/."),
    request("/ofrep/v1/evaluate/flags/.."),
    request("/ofrep/v1/evaluate/flags/a%2Fb"),
    request("/ofrep/v1/evaluate/flags/a/b"),
    request("/ofrep/v1/evaluate/flags/" + "a" * 129),
    request().replace(b"POST", b"GET"),
    request().replace(b"POST", b"post"),
    request().replace(b"HTTP/1.1", b"HTTP/1.0"),
    request().replace(b"HTTP/1.1", b"HTTP/2.0"),
    request().replace(b" HTTP", b"  HTTP"),
    request().replace(b"\r\n", b"\n"),
    request().replace(b"\r\n", b"\r\r\n", 1),
    request().replace(b"Host:", b"Host :"),
    request().replace(b"Host:", b" Host:"),
    request().replace(b"Host: ", b"Host: a\r\n b"),
    request(drop="Host"),
    request(drop="Content-Length"),
    request(drop="Content-Type"),
    request(drop="Authorization"),
    request(more=("Host: other",)),
    request(more=("Origin: https://a.example", "Origin: https://a.example")),
    request(more=("Origin: ",)),
    request(more=("Content-Length: 14",)),
    request(more=("Content-Type: application/json",)),
    request(more=(f"X-API-Key: {KEY}",)),
    request(more=("Transfer-Encoding: chunked",)),
    request(more=("Transfer-Encoding: identity",)),
    request(more=("Content-Encoding: gzip",)),
    request(more=("Expect: 100-continue",)),
    request(more=("Upgrade: websocket",)),
    request(more=("TE: trailers",)),
    request(more=("Trailer: X",)),
    request(more=("Connection: upgrade",)),
    request(more=("Connection: keep-alive", "Connection: keep-alive")),
    request(more=("Accept: text/html",)),
    request(more=("X: \x00",)),
    request(more=("X: \x7f",)),
    request(more=("X: é",)),
    request(more=("bad name: x",)),
    request(more=(": x",)),
    request(more=("no colon",)),
    request(more=tuple(f"X-{i}: y" for i in range(64))),
    request(more=("X: " + "y" * 8200,)),
    request(body=b"", drop="Content-Length", more=("Content-Length: +0",)),
    request(body=b"", drop="Content-Length", more=("Content-Length: 00",)),
    request(body=b"", drop="Content-Length", more=("Content-Length: 0x0",)),
    request(body=b"", drop="Content-Length", more=("Content-Length: ",)),
    request(body=b"", drop="Content-Length", more=("Content-Length: 999999999",)),
    request(body=b"", drop="Content-Length", more=("Content-Length: 9000000",)),
    b"\x16\x03\x01\x02\x00",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\r\n" + request(),
]


@dataclass
class Parsed:
    """What llhttp makes of a message."""

    target: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    done: bool = False
    paused: bool = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.done = True


def of_llhttp(message: bytes) -> tuple[bytes, bytes, Parsed] | None:
    parsed = Parsed()
    parser = httptools.HttpRequestParser(parsed)
    try:
        parser.feed_data(message)
    except httptools.HttpParserError:
        return None
    return (parser.get_method(), parsed.target, parsed) if parsed.done else None


def of_h11(message: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
    """(method, target, body, what follows)"""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(message)
    body = b""
    try:
        head = connection.next_event()
        if not isinstance(head, h11.Request):
            return None
        while isinstance(event := connection.next_event(), h11.Data):
            body += bytes(event.data)
    except h11.RemoteProtocolError:
        return None
    return (
        (head.method, head.target, body, connection.trailing_data[0]) if isinstance(event, h11.EndOfMessage) else None
    )


def check_accepted(message: bytes, head: int, body: int) -> None:
    """The front took `head + body` bytes: so do the others, to the byte, and they see the same request."""
    whole = message[: head + body]
    theirs = of_llhttp(whole)
    assert theirs is not None, whole
    method, target, parsed = theirs
    assert (method, parsed.body) == (b"POST", whole[head:])
    assert target == whole.split(b" ")[1]
    assert of_llhttp(whole[:-1]) is None or (body == 0 and of_llhttp(whole[: head - 1]) is None)
    other = of_h11(whole + b"X")
    assert other == (b"POST", target, whole[head:], b"X"), whole
    lengths = [value.strip() for name, value in parsed.headers if name.lower() == b"content-length"]
    assert lengths == [str(body).encode()]
    assert len([name for name, _ in parsed.headers if name.lower() in (b"authorization", b"x-api-key")]) == 1


@pytest.mark.parametrize("message", ACCEPTED, ids=range(len(ACCEPTED)))
def test_accepted_whole_and_waited_for_in_parts(message: bytes) -> None:
    found = scan(message)
    assert isinstance(found, tuple)
    route, head, body = found
    assert head + body == len(message)
    check_accepted(message, head, body)
    for cut in range(1, head):
        assert scan(message[:cut]) is None, message[:cut]
    for cut in range(head, len(message)):
        assert scan(message[:cut]) == (route, head, body)
    assert scan(message + message) == (route, head, body)


@pytest.mark.parametrize("message", REFUSED, ids=range(len(REFUSED)))
def test_not_ours(message: bytes) -> None:
    assert scan(message) is False
    states = [scan(message[:cut]) for cut in range(1, len(message))]
    assert not any(isinstance(each, tuple) for each in states)
    assert states == sorted(states, key=lambda each: each is False)  # once it is not ours it stays so


def test_whatever_is_accepted_others_accept() -> None:
    rng = random.Random(20261122)
    accepted = 0
    pieces = [b"\r\n", b"\n", b"\r", b": ", b":", b" ", b"\t", b"\0", b"0", b"1", b"chunked", b"close", b"\x80", b"/"]
    pieces += [b"..", b"%2e", b"HTTP/1.1", b";", b",", b"Transfer-Encoding: chunked\r\n"]
    pieces += [b"Content-Length: 3\r\n", b"Host: b\r\n"]
    for _ in range(MUTATIONS):
        message = bytearray(rng.choice(ACCEPTED))
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.randrange(len(message))
            match rng.randrange(5):
                case 0:
                    message[at] = rng.randrange(256)
                case 1:
                    del message[at : at + rng.randrange(1, 4)]
                case 2:
                    message[at:at] = rng.choice(pieces)
                case 3:
                    message[at : at + 1] = bytes([message[at] ^ 0x20])
                case _:
                    end = at + rng.randrange(30)
                    message[at:at] = message[at:end]
            if not message:
                break
        found = scan(bytes(message))
        if isinstance(found, tuple):
            _, head, body = found
            if head + body <= len(message):
                accepted += 1
                check_accepted(bytes(message), head, body)
    assert accepted > MUTATIONS / 50
