"""The front on real sockets: order, slices, slow and greedy clients, and what is handed over."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.running import BATCH, BULK, PATIENCE, SAMPLES, SHOP, Running, running, until

MUTATIONS = 100_000 if os.environ.get("BURGEE_PROFILE") == "nightly" else 3_000
FLAG = f"{BULK}/new-checkout"
CONTEXT = b'{"context":{"targetingKey":"u-1","country":"DE"}}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(samples(tmp_path_factory.mktemp("front"))) as started:
        yield started


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = ("--head-timeout", "1", "--body-timeout", "1", "--keepalive-timeout", "3")
    with running(samples(tmp_path_factory.mktemp("impatient")), *limits) as started:
        yield started


def samples(folder: Path) -> Path:
    tenants = folder / "tenants"
    tenants.symlink_to(SAMPLES)
    return tenants


def message(path: str = FLAG, body: bytes = CONTEXT, *more: str, key: str = SHOP, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode() + body


def connect(server: Running) -> socket.socket:
    connection = socket.create_connection(server.address, timeout=PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def answers(connection: socket.socket, count: int) -> list[tuple[int, dict[str, str], bytes]]:
    """This many answers, framed by their Content-Length."""
    read = connection.makefile("rb")
    found = []
    for _ in range(count):
        status = int(read.readline().split()[1])
        headers = {}
        while line := read.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        found.append((status, headers, read.read(int(headers.get("content-length", "0")))))
    return found


def without_age(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in ("date", "server", "burgee-age")}


@pytest.mark.parametrize("path", [FLAG, BULK, BATCH, f"{BULK}/nope"])
@pytest.mark.parametrize(
    "body",
    [
        CONTEXT,
        b'{"contexts":[{}]}',
        b"",
        b"{",
        b'{"context":3}',
        b'{"contexts":[{}],"groups":[]}',
        b'{"contexts":[{"groups":["staff"]}]}',
        b'{"gro\\u0075ps":[{"environment":"shop/web/production","contexts":[{}]}]}',
    ],
)
def test_the_same_answer_as_from_aiohttp(server: Running, path: str, body: bytes) -> None:
    with connect(server) as front, connect(server) as behind:
        front.sendall(message(path, body))
        behind.sendall(message(path, body, "TE: x"))  # which the front does not take
        ((status, headers, reply),), (theirs,) = answers(front, 1), answers(behind, 1)
    assert (status, without_age(headers), reply) == (theirs[0], without_age(theirs[1]), theirs[2])
    assert "server" in theirs[1]
    over_groups = path == BATCH and (b"u0075" in body or b'"groups":[]' in body)  # which are handed over
    assert ("server" in headers) == over_groups


def test_entity_tags_and_messagepack(server: Running) -> None:
    with connect(server) as connection:
        connection.sendall(message(BULK))
        ((_, headers, _),) = answers(connection, 1)
        connection.sendall(message(BULK, CONTEXT, f"If-None-Match: {headers['etag']}"))
        ((status, again, body),) = answers(connection, 1)
        assert (status, again["etag"], body) == (304, headers["etag"], b"")
        connection.sendall(message(BATCH, b'{"contexts":[{}]}', "Accept: application/vnd.msgpack"))
        ((status, headers, body),) = answers(connection, 1)
        assert (status, headers["content-type"], body[0] & 0xF0) == (200, "application/vnd.msgpack", 0x80)


def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    keys = ["new-checkout", "nope", "discount-rate", "reviews"] * 50
    sent = b"".join(message(f"{BULK}/{key}") for key in keys)
    with connect(server) as connection:
        connection.sendall(sent)
        found = answers(connection, len(keys))
    assert [json.loads(body)["key"] for _, _, body in found] == keys
    assert [status for status, _, _ in found] == [404 if key == "nope" else 200 for key in keys]


def test_what_follows_something_strange_is_answered_after_it(server: Running) -> None:
    sent = (
        message()
        + message(BULK, CONTEXT, "TE: x")
        + message(f"{BULK}/reviews")
        + b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    with connect(server) as connection:
        connection.sendall(sent)
        found = answers(connection, 4)
    assert [status for status, _, _ in found] == [200, 200, 200, 404]
    assert json.loads(found[0][2])["key"] == "new-checkout"
    assert "flags" in json.loads(found[1][2])
    assert json.loads(found[2][2])["key"] == "reviews"


def test_handed_over_while_the_client_is_behind_with_reading(server: Running) -> None:
    def batch(contexts: int) -> bytes:
        return message(BATCH, json.dumps({"contexts": [{"targetingKey": str(i)} for i in range(contexts)]}).encode())

    with socket.socket() as connection:
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that the sockets drain slowly
        connection.connect(server.address)
        connection.sendall(batch(9_000) + batch(180) + message(FLAG, CONTEXT, "TE: x"))
        time.sleep(0.5)  # the first answer fills the sockets; the second is written while they drain
        found = answers(connection, 3)
        assert [status for status, _, _ in found] == [200] * 3
        connection.sendall(message(f"{BULK}/reviews"))
        ((status, _, body),) = answers(connection, 1)
    assert (status, json.loads(body)["key"]) == (200, "reviews")


def test_sliced_at_every_byte(server: Running) -> None:
    whole = message() + message(BATCH, b'{"contexts":[{},{}]}')
    with connect(server) as connection:
        for cut in range(1, len(whole)):
            connection.sendall(whole[:cut])
            connection.sendall(whole[cut:])
        found = answers(connection, 2 * (len(whole) - 1))
        assert {(status, without_age(headers)["content-length"]) for status, headers, _ in found} == {
            (200, found[0][1]["content-length"]),
            (200, found[1][1]["content-length"]),
        }
        for byte in whole:
            connection.sendall(bytes([byte]))
        assert [status for status, _, _ in answers(connection, 2)] == [200, 200]


def test_a_body_larger_than_a_read(server: Running) -> None:
    contexts = [{"targetingKey": f"user-{i}", "filler": "x" * 200} for i in range(5_000)]
    body = json.dumps({"contexts": contexts, "format": "compact"}).encode()
    with connect(server) as connection:
        connection.sendall(message(BATCH, body) + message())
        found = answers(connection, 2)
    assert len(json.loads(found[0][2])["results"]) == 5_000
    assert json.loads(found[1][2])["key"] == "new-checkout"


def test_a_body_that_is_too_large_is_refused_by_its_head(server: Running) -> None:
    head = message(BATCH, b"").replace(b"Content-Length: 0", b"Content-Length: 104857600")
    with connect(server) as connection:
        connection.sendall(head)
        assert answers(connection, 1)[0][0] == 413


def test_connection_close(server: Running) -> None:
    answer = server.raw(message() + message(FLAG, CONTEXT, "Connection: close") + message())
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(b"Connection: close") == 1


@pytest.mark.parametrize(
    "sent", [b"", b"POST /v1/eva", message()[:-20], message()[:60]], ids=["nothing", "line", "body", "head"]
)
def test_slow_senders_are_let_go(impatient: Running, sent: bytes) -> None:
    answer = impatient.raw(sent)
    in_body = b"\r\n\r\n" in sent
    if not in_body:
        assert answer == b""
        return
    head, _, said = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert b"Content-Length: %d" % len(said) in head
    assert json.loads(said) == {"errorDetails": "the body did not arrive in time"}
    counted = b'burgee_http_requests_total{route="ofrep_flag",status="408"}'
    assert counted in impatient.manage("/metrics").body


def test_a_dripped_head_does_not_buy_time(impatient: Running) -> None:
    with connect(impatient) as connection:
        begun = time.monotonic()
        with pytest.raises(OSError):
            for byte in message()[:150]:
                connection.sendall(bytes([byte]))
                time.sleep(0.1)
            raise AssertionError("all of it was taken")
        assert time.monotonic() - begun < PATIENCE


def test_an_idle_connection_is_closed(impatient: Running) -> None:
    with connect(impatient) as connection:
        connection.sendall(message())
        answers(connection, 1)
        assert connection.recv(1) == b""


def test_who_asks_and_does_not_read_is_cut_off(impatient: Running) -> None:
    body = json.dumps({"contexts": [{"targetingKey": str(i)} for i in range(200)]}).encode()
    asked = message(BATCH, body)
    with connect(impatient) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(1.0)
        with pytest.raises(OSError):
            for _ in range(20_000):
                connection.sendall(asked)
    with connect(impatient) as other:
        other.sendall(message())
        assert answers(other, 1)[0][0] == 200


def test_mutated_messages_never_break_it(server: Running) -> None:
    rng = random.Random(7)
    whole = message() + message(BULK, CONTEXT, "X-A: b") + message(BATCH, b'{"contexts":[{}]}')
    for _ in range(MUTATIONS // 10):
        with connect(server) as connection:
            sent = b""
            for _ in range(10):
                mutated = bytearray(whole)
                for _ in range(rng.choice((0, 1, 2, 4))):
                    at = rng.randrange(len(mutated))
                    mutated[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
                sent += mutated
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            try:
                while part := connection.recv(65536):
                    answer += part
            except ConnectionResetError:
                pass
        assert b"HTTP/1.1 5" not in answer, sent
    assert server.process.poll() is None
    assert server.post(FLAG, CONTEXT, key=SHOP).status == 200


@pytest.mark.parametrize("headers", [{}, {"TE": "x"}], ids=["front", "aiohttp"])
def test_counted_and_timed(server: Running, headers: dict[str, str]) -> None:
    def count(name: str) -> float:
        lines = server.manage("/metrics").body.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    names = (
        'burgee_http_requests_total{route="ofrep_flag",status="200"}',
        'burgee_http_request_duration_seconds_count{route="ofrep_flag"}',
        'burgee_http_request_duration_seconds_bucket{le="+Inf",route="ofrep_flag"}',
    )
    before = [count(name) for name in names]
    for _ in range(5):
        assert server.post(FLAG, CONTEXT, key=SHOP, headers=headers).status == 200
    until(lambda: all(count(name) >= was + 5 for name, was in zip(names, before, strict=True)))


def test_a_rate_limit_holds_for_both_ways(tmp_path: Path) -> None:
    with running(samples(tmp_path), "--tenant-requests", "0.01") as limited, connect(limited) as connection:
        connection.sendall(message() * 50)
        found = answers(connection, 50)
        refused = [each for each in found if each[0] == 429]
        assert len(refused) == 49
        assert {body for _, _, body in refused} == {b'{"errorDetails":"too many requests"}'}
        assert all(1 <= int(headers["retry-after"]) <= 100 for _, headers, _ in refused)
        assert limited.post(FLAG, CONTEXT, key=SHOP, headers={"TE": "x"}).status == 429
