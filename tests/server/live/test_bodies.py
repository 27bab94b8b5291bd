"""Bodies that are encoded, too large, too slow, framed wrongly, or JSON that parsers disagree about: each its status.

What the front answers, aiohttp's handlers answer too (the same body, chunked and with `TE`), to the byte.
"""

from __future__ import annotations

import gzip
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.live.conftest import BODY_TIMEOUT, DEADLINES
from tests.server.live.corpus import FLAG, MANY, ONE, chunked, chunks, message
from tests.server.live.processes import megabytes
from tests.server.running import BATCH, BULK, PATIENCE, Reply, Running, running

LARGEST = 1_000_000  # bytes of a body
CLOSE = "Connection: close"


@pytest.fixture(scope="module")
def limited(own_samples: Callable[[], Path]) -> Iterator[Running]:
    with running(own_samples(), *DEADLINES, "--max-body-bytes", str(LARGEST)) as started:
        yield started


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def closing(whole: bytes) -> bytes:
    return whole.replace(b"Host:", b"Connection: close\r\nHost:", 1)


def answers_within(server: Running, sent: bytes) -> tuple[int, float]:
    """(the status that comes while nothing more is sent, seconds until it came)"""
    with socket.create_connection(server.address, timeout=PATIENCE) as connection:
        began = time.monotonic()
        connection.sendall(sent)
        return status_of(connection.recv(65536)), time.monotonic() - began


# Encoded, oversized, dripped


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity", "x", "gzip, gzip", ""])
@pytest.mark.parametrize("path", [FLAG, BULK, BATCH])
def test_an_encoded_body_is_refused_by_its_head(limited: Running, path: str, encoding: str) -> None:
    head = message(path, b"", f"Content-Encoding: {encoding}").replace(b"Length: 0", b"Length: 99999")
    assert answers_within(limited, head)[0] == 415  # none of the body is ever sent


def test_a_bomb_is_not_unpacked(limited: Running) -> None:
    bomb = gzip.compress(b'{"context":{"a":"' + b"x" * (300 << 20) + b'"}}', 9)
    assert len(bomb) < LARGEST
    before = megabytes(limited.process.pid)
    for _ in range(5):
        for whole in (
            message(FLAG, bomb, "Content-Encoding: gzip"),
            chunked("Content-Encoding: gzip\r\nTransfer-Encoding: chunked", chunks(bomb)),
        ):
            assert status_of(limited.raw(closing(whole))) == 415
        assert status_of(limited.raw(closing(message(FLAG, bomb)))) == 400  # not said to be encoded: not JSON
    assert megabytes(limited.process.pid) < before + 64


@pytest.mark.parametrize("length", [LARGEST + 1, 10**7, 10**8, 10**12, 2**63 - 1])
@pytest.mark.parametrize("path", [FLAG, BULK, BATCH])
def test_an_oversized_body_is_refused_by_its_head(limited: Running, path: str, length: int) -> None:
    head = message(path, b"").replace(b"Length: 0", b"Length: %d" % length)
    assert answers_within(limited, head)[0] == 413


def test_the_largest_body_is_taken(limited: Running) -> None:
    contexts = [{"filler": "x" * 900}] * 1_000
    body = json.dumps({"contexts": contexts, "flags": ["reviews"]}).encode()
    body += b" " * (LARGEST - len(body))
    assert status_of(limited.raw(message(BATCH, body, CLOSE))) == 200
    assert status_of(limited.raw(closing(chunked(framed=chunks(body), path=BATCH)))) == 200
    assert status_of(limited.raw(message(BATCH, body + b" ", CLOSE))) == 413
    assert status_of(limited.raw(closing(chunked(framed=chunks(body + b" "), path=BATCH)))) == 413


def test_chunks_that_never_end_are_refused_when_they_are_too_many(limited: Running) -> None:
    with socket.create_connection(limited.address, timeout=PATIENCE) as connection:
        connection.sendall(closing(chunked(framed=b"")))
        for _ in range(2 * LARGEST // 60_000):
            connection.sendall(b"%x\r\n%b\r\n" % (60_000, b" " * 60_000))
        assert status_of(connection.recv(65536)) == 413
        while connection.recv(65536):
            pass  # until it is closed, though the end of the body never came


@pytest.mark.parametrize(
    "sent",
    [
        message(FLAG, b"").replace(b"Length: 0", b"Length: 49") + ONE[:10],
        message(FLAG, b"", "TE: x").replace(b"Length: 0", b"Length: 49") + ONE[:10],
        message(FLAG, ONE, "Expect: 100-continue")[: -len(ONE) + 10],
        chunked(framed=b""),
        chunked(framed=b"ff\r\n" + ONE),
        chunked(framed=chunks(ONE)[:-2]),
    ],
    ids=["front", "aiohttp", "expected", "no chunk", "half a chunk", "no end"],
)
def test_a_body_that_does_not_come(limited: Running, sent: bytes) -> None:
    with socket.create_connection(limited.address, timeout=PATIENCE) as connection:
        began = time.monotonic()
        connection.sendall(sent)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(b"HTTP/1.1 408 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert time.monotonic() - began >= BODY_TIMEOUT - 0.1


@pytest.mark.parametrize(
    "framed",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"0x1\r\n",
        b"1" + b"0" * 20 + b"\r\n",
        b"\r\n",
        b"1\r\nXX\r\n0\r\n\r\n",
        b"1\nX\n0\n\n",
        b"1;\n0\r\n\r\n",
    ],
)
def test_chunks_that_are_none(limited: Running, framed: bytes) -> None:
    assert status_of(limited.raw(closing(chunked(framed=framed)))) == 400


TRAILERS = (
    "Content-Type: application/json",
    "Burgee-Environment: staging",
    "If-None-Match: *",
    f"X-API-Key: {'x' * 9}",
)


@pytest.mark.parametrize("trailer", TRAILERS)
def test_a_trailer_is_no_header_of_the_request_that_follows(limited: Running, trailer: str) -> None:
    """Behind a proxy the request that follows on the same connection is somebody else's."""
    first = chunked(framed=chunks(ONE, trailer), path=BULK)
    follows = message(BULK, ONE, CLOSE)
    with socket.create_connection(limited.address, timeout=PATIENCE) as connection:
        connection.sendall(first)
        answer = connection.recv(65536)
        assert status_of(answer) == 200
        assert b"\r\nConnection: close\r\n" in answer
    both = limited.raw(first + follows)
    assert both.count(b"HTTP/1.1 ") + both.count(b"HTTP/1.0 ") == 1  # and no answer to what follows


# What else is not as it seems


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9"])
def test_versions_that_are_not_spoken(limited: Running, version: str) -> None:
    answer = limited.raw(message().replace(b"HTTP/1.1", version.encode()))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize(
    "sent",
    [
        b"NONSENSE\r\n\r\n",
        message().replace(b"HTTP/1.1", b"HTTP/2.0"),
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
)
def test_no_answer_names_versions_of_what_it_is_made_of(limited: Running, sent: bytes) -> None:
    answer = limited.raw(sent)
    assert b"\r\nServer: burgee\r\n" in answer


@pytest.mark.parametrize("expected", [b"SECRET", b"100\xf3continue", b"\xff"])
def test_an_expectation_is_neither_repeated_nor_a_failure(limited: Running, expected: bytes) -> None:
    for path in (FLAG, "/nowhere"):
        answer = limited.raw(message(path, ONE, CLOSE).replace(b"Host:", b"Expect: " + expected + b"\r\nHost:"))
        assert status_of(answer) == (200 if path == FLAG else 417)
        assert b"SECRET" not in answer


# JSON


def context(text: str) -> bytes:
    return b'{"context":{"targetingKey":"u-1","a":%b}}' % text.encode("utf-8", "surrogatepass")


# (body of a single-flag request, its error code; None: it is answered)
BODIES: dict[str, tuple[bytes, str | None]] = {
    "plain": (context("1"), None),
    "null character": (context('"\\u0000"'), None),
    "raw control character": (context('"\x01"'), "PARSE_ERROR"),
    "2^53": (context("9007199254740992"), None),
    "2^64": (context("18446744073709551616"), None),
    "-2^64": (context("-18446744073709551616"), None),
    "1e999": (context("1e999"), None),
    "-1e999": (context("-1e999"), None),
    "1e-999": (context("1e-999"), None),
    "500 digits": (context("1" * 500), None),
    "600 digits": (context("1" * 600), "PARSE_ERROR"),
    "-0": (context("-0"), None),
    "01": (context("01"), "PARSE_ERROR"),
    "+1": (context("+1"), "PARSE_ERROR"),
    ".5": (context(".5"), "PARSE_ERROR"),
    "5.": (context("5."), "PARSE_ERROR"),
    "1e": (context("1e"), "PARSE_ERROR"),
    "0x1": (context("0x1"), "PARSE_ERROR"),
    "NaN": (context("NaN"), "PARSE_ERROR"),
    "-Infinity": (context("-Infinity"), "PARSE_ERROR"),
    "True": (context("True"), "PARSE_ERROR"),
    "single quotes": (context("'a'"), "PARSE_ERROR"),
    "trailing comma": (context("[1,]"), "PARSE_ERROR"),
    "comment": (context("1/**/"), "PARSE_ERROR"),
    "something after": (context("1") + b"1", "PARSE_ERROR"),
    "two values": (context("1") + context("1"), "PARSE_ERROR"),
    "null byte after": (context("1") + b"\0", "PARSE_ERROR"),
    "byte order mark": (b"\xef\xbb\xbf" + context("1"), "PARSE_ERROR"),
    "UTF-16": (context("1").decode().encode("utf-16"), "PARSE_ERROR"),
    "UTF-32": (context("1").decode().encode("utf-32"), "PARSE_ERROR"),
    "Latin-1": (context('"\xe9"').decode().encode("latin-1"), "PARSE_ERROR"),
    "overlong": (b'{"context":{"a":"\xc0\xaf"}}', "PARSE_ERROR"),
    "beyond Unicode": (b'{"context":{"a":"\xf4\x90\x80\x80"}}', "PARSE_ERROR"),
    "surrogate in UTF-8": (context('"\ud800"'), "PARSE_ERROR"),
    "lone high surrogate": (context('"\\ud800"'), "PARSE_ERROR"),
    "lone low surrogate": (context('"\\udc00"'), "PARSE_ERROR"),
    "surrogates in the wrong order": (context('"\\udc00\\ud800"'), "PARSE_ERROR"),
    "surrogate pair": (context('"\\ud83d\\ude00"'), None),
    "surrogate in a name": (b'{"context":{"\\ud800":1}}', "PARSE_ERROR"),
    "bad escape": (context('"\\x41"'), "PARSE_ERROR"),
    "half an escape": (context('"\\u12"'), "PARSE_ERROR"),
    "name twice": (b'{"context":{"targetingKey":"a","targetingKey":"b"}}', "PARSE_ERROR"),
    "name twice, escaped": (b'{"context":{"targetingKey":"a","targeting\\u004bey":"b"}}', "PARSE_ERROR"),
    "context twice": (b'{"context":{"targetingKey":"a"},"context":{"targetingKey":"b"}}', "PARSE_ERROR"),
    "name twice, deeper": (context('{"b":{"c":1,"c":2}}'), "PARSE_ERROR"),
    "empty name": (context('{"":1}'), None),
    "__proto__": (context('{"__proto__":{"a":1},"constructor":2}'), None),
    "30 levels": (context("[" * 29 + "]" * 29), None),
    "5,000 levels": (context("[" * 5_000 + "]" * 5_000), "PARSE_ERROR"),
    "100,000 levels, open": (b'{"context":' + b'{"a":' * 100_000, "PARSE_ERROR"),
    "1,000 members": (
        b'{"context":{"targetingKey":"u","a":{%b}}}' % b",".join(b'"k%d":1' % n for n in range(1_000)),
        None,
    ),
    "100,000 members": (b'{"context":{"a":{%b}}}' % b",".join(b'"k%d":1' % n for n in range(100_000)), "PARSE_ERROR"),
    "100,000 elements": (context("[" + ",".join("1" * 100_000) + "]"), None),
    "string of 1 MB": (context('"' + "x" * 1_000_000 + '"'), None),
    "string of 8 MB": (context('"' + "x" * 8_000_000 + '"'), "PARSE_ERROR"),
    "escapes of 1 MB": (context('"' + "\\u0041" * 150_000 + '"'), None),
    "spaces": (b" \n\t\r" * 1_000 + context("1") + b" " * 1_000, None),
    "form feed": (b"\x0c" + context("1"), "PARSE_ERROR"),
    "nothing": (b"", "PARSE_ERROR"),
    "a string": (b'"context"', "INVALID_CONTEXT"),
    "a number": (b"1", "INVALID_CONTEXT"),
    "null": (b"null", "INVALID_CONTEXT"),
    "a list": (b"[{}]", "INVALID_CONTEXT"),
    "context is a list": (b'{"context":[]}', "INVALID_CONTEXT"),
    "context is a string": (b'{"context":"{}"}', "INVALID_CONTEXT"),
    "other members": (b'{"contexts":[],"context":{"targetingKey":"u-1"},"flags":3}', None),
    "key is a number": (b'{"context":{"targetingKey":12345}}', None),
    "msgpack": (b"\x81\xa7context\x80", "PARSE_ERROR"),
}


def both_ways(server: Running, path: str, body: bytes) -> tuple[Reply, Reply, Reply]:
    """From the front, from aiohttp, and from aiohttp chunked."""
    plain = message(path, body, CLOSE)
    behind = message(path, body, CLOSE, "TE: x")
    return tuple(  # type: ignore[return-value]
        reply(server.raw(each)) for each in (plain, behind, closing(chunked(framed=chunks(body), path=path)))
    )


def reply(answer: bytes) -> Reply:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    headers = {name.decode().lower(): value.decode() for name, value in lines}
    for name in ("date", "server", "burgee-age", "content-length", "connection"):
        headers.pop(name, None)
    return Reply(status_of(answer), headers, body)


@pytest.mark.parametrize("name", BODIES)
def test_json_that_parsers_disagree_about(impatient: Running, name: str) -> None:
    body, code = BODIES[name]
    for path in (FLAG, BULK):
        front, *behind = both_ways(impatient, path, body)
        assert [front, front] == behind, path
        assert (front.status, front.json.get("errorCode")) == ((400, code) if code else (200, None)), (path, front.body)
    batch = (
        MANY
        if not body.startswith(b'{"context":{')
        else b'{"contexts":[' + body.removeprefix(b'{"context":')[:-1] + b"]}"
    )
    front, *behind = both_ways(impatient, BATCH, batch if len(batch) < 8_000_000 else body)
    assert [front, front] == behind
    assert front.status in (200, 400)


def test_mutated_json_gets_the_same_from_both(impatient: Running) -> None:
    rng = random.Random(3)
    small = [body for body, _ in BODIES.values() if 0 < len(body) < 1_000]
    for _ in range(200):
        body = bytearray(rng.choice(small))
        for _ in range(rng.choice((1, 2, 3))):
            at = rng.randrange(len(body))
            body[at : at + rng.randrange(3)] = rng.choice(
                (b"{", b"}", b'"', b"\\", b",", b":", b"\xff", b"\0", b"1", b"[", b"]")
            )
        front, *behind = both_ways(impatient, rng.choice((FLAG, BULK, BATCH)), bytes(body))
        assert [front, front] == behind, body
        assert front.status in (200, 400, 404), body
