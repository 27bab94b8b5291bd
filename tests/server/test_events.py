"""Event streams on real sockets: who may listen, what is told, and when a stream ends."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import pytest

from server.files import write_atomically
from server.http import event_address
from server.sources import key_file
from server.types import EnvironmentId, Grant, KeyKind, ProjectId
from tests.server.conftest import add_key
from tests.server.event_source import EventSource
from tests.server.running import BATCH, BULK, Running, running, until

CONTEXT = {"context": {"targetingKey": "u-1"}}
REFETCH = '{"type":"refetchEvaluation"}'
PATH = "/ofrep/v1/events"
STREAMS = 400 if os.environ.get("BURGEE_PROFILE") == "nightly" else 60


def document(word: str, environments: str = "[default, other]") -> bytes:
    flags = f"{{f: {{type: string, clientVisible: true, variants: {{a: {word}}}, fallthrough: a}}}}"
    return f"environments: {environments}\nflags: {flags}".encode()


@pytest.fixture
def app(tenants: Path) -> Path:
    path = tenants / "acme" / "app.yaml"
    path.write_bytes(document("one"))
    path.with_name("aside.yaml").write_bytes(document("aside"))
    return path


@pytest.fixture
def key(tenants: Path) -> str:
    return add_key(tenants)


@pytest.fixture
def server(app: Path, key: str, tenants: Path) -> Iterator[Running]:
    with running(tenants, "--workers", "2", "--event-stream-heartbeat", "1") as started:
        until(lambda: started.post(BULK, CONTEXT, key=key).status == 200)
        yield started


def address_of(server: Running, key: str) -> str:
    reply = server.post(BULK, CONTEXT, key=key)
    assert reply.status == 200, reply
    [stream] = reply.json["eventStreams"]
    assert (stream["type"], stream["inactivityDelaySec"]) == ("sse", 120)
    uri: str = stream["endpoint"]["requestUri"]
    return uri


def version_of(server: Running, key: str) -> str:
    return server.post(BULK, CONTEXT, key=key).headers["burgee-version"]


def listen(server: Running, key: str) -> EventSource:
    """Connected, up to date and quiet."""
    stream = EventSource(server.address, address_of(server, key), f"Last-Event-ID: {version_of(server, key)}")
    assert stream.status == 200
    return stream


def open_streams(server: Running) -> int:
    [line] = [
        each
        for each in server.manage("/metrics").body.decode().splitlines()
        if each.startswith("burgee_event_streams ")
    ]
    return int(float(line.split()[1]))


def test_a_publish_is_told(server: Running, app: Path, key: str) -> None:
    with listen(server, key) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        assert "no-store" in stream.headers["cache-control"]
        write_atomically(app, document("two"))
        event = stream.next_event()
        assert event == (version_of(server, key), REFETCH)
        assert 1000 <= stream.retry <= 5000
        assert server.post(f"{BULK}/f", CONTEXT, key=key).json["value"] == "two"
        write_atomically(app, document("three"))
        assert stream.next_event() == (version_of(server, key), REFETCH)


def test_only_what_concerns_the_environment_is_told(server: Running, app: Path, key: str, tenants: Path) -> None:
    with listen(server, key) as stream:
        write_atomically(app.with_name("aside.yaml"), document("changed"))
        add_key(tenants)
        until(lambda: server.status_of("acme/aside/default")["version"] > int(version_of(server, key)))
        assert stream.is_quiet()


def test_what_was_missed_is_told_at_once(server: Running, key: str) -> None:
    uri, version = address_of(server, key), version_of(server, key)
    for seen in ("1", "nonsense", ""):
        with EventSource(server.address, uri, f"Last-Event-ID: {seen}") as stream:
            assert stream.next_event() == (version, REFETCH)
    with EventSource(server.address, uri, f"Last-Event-ID: {version}") as stream:
        assert stream.is_quiet()
        assert stream.last_id == version
    with EventSource(server.address, uri) as stream:  # the first time, and what there is was published just now
        assert stream.next_event() == (version, REFETCH)


def test_keys_in_headers(server: Running, key: str, tenants: Path) -> None:
    for header in (f"Authorization: Bearer {key}", f"X-API-Key: {key}"):
        with EventSource(server.address, PATH, header) as stream:
            assert stream.status == 200
            assert stream.next_event() is not None
    client, edge = add_key(tenants, kind=KeyKind.CLIENT), add_key(tenants, kind=KeyKind.EDGE)
    both = add_key(tenants, "default", "other")
    until(lambda: server.post(BULK, CONTEXT, key=client).status == 200)
    for headers, status in (
        ((f"X-API-Key: {client}",), 200),
        ((f"X-API-Key: {edge}",), 403),
        ((f"X-API-Key: {both}",), 400),
        ((f"X-API-Key: {both}", "Burgee-Environment: other"), 200),
        ((f"X-API-Key: {both}", "Burgee-Environment: nowhere"), 403),
        ((f"X-API-Key: {key[:-1]}",), 401),
        ((), 401),
    ):
        with EventSource(server.address, PATH, *headers) as stream:
            assert (headers, stream.status) == (headers, status)
    with EventSource(server.address, address_of(server, key), f"X-API-Key: {key[:-1]}") as stream:
        assert stream.status == 401  # a key in a header counts more


def test_an_address_opens_only_what_it_was_made_for(server: Running, key: str, tenants: Path) -> None:
    uri = address_of(server, key)
    members = dict(parse_qsl(urlsplit(uri).query))
    other = dict(parse_qsl(urlsplit(address_of(server, add_and_wait(server, tenants, "other"))).query))
    wrong = [
        {**members, "environment": "acme/app/other"},
        {**members, "environment": "acme/aside/default"},
        {**members, "environment": "acme/app"},
        {**members, "environment": "é/app/default"},
        {**members, "key": other["key"]},
        {**members, "expires": str(int(members["expires"]) + 1)},
        {**members, "expires": f"+{members['expires']}"},
        {**members, "expires": "٣"},
        {**members, "token": other["token"]},
        {**members, "token": members["token"][:-1]},
        {**members, "token": "é"},
        {**members, "token": ""},
        *({name: value for name, value in members.items() if name != left_out} for left_out in members),
    ]
    for each in wrong:
        reply = server.request("GET", f"{PATH}?{urlencode(each)}")
        assert (each, reply.status) == (each, 401)
        assert members["token"] not in reply.body.decode()
    for name in members:
        assert server.request("GET", f"{uri}&{urlencode({name: members[name]})}").status == 401
    assert server.request("POST", uri).status == 405
    assert server.request("HEAD", uri).status == 405
    assert members["token"] not in server.log.read_text()


def add_and_wait(server: Running, tenants: Path, *environments: str) -> str:
    key = add_key(tenants, *environments)
    until(lambda: server.post(BULK, CONTEXT, key=key).status == 200)
    return key


def test_an_address_expires(server: Running, key: str) -> None:
    digest = hashlib.sha256(key.encode()).digest()
    grant = Grant(digest, key.split("_")[2], KeyKind.SERVER, ProjectId("acme", "app"), (), None)
    environment = EnvironmentId("acme", "app", "default")

    def status(made_at: float) -> int:
        tail = event_address.offer(grant, environment, made_at).tail
        uri = json.loads(b"{" + tail[1:])["eventStreams"][0]["endpoint"]["requestUri"]
        with EventSource(server.address, uri) as stream:
            return stream.status

    now = time.time()
    assert status(now) == status(now - event_address.PERIOD) == 200
    assert status(now - 3 * event_address.PERIOD) == 401


def test_an_address_outlives_the_entity_tag_of_its_answer() -> None:
    grant = Grant(b"k" * 32, "A" * 16, KeyKind.SERVER, ProjectId("acme", "app"), (), None)
    environment = EnvironmentId("acme", "app", "default")
    first = event_address.offer(grant, environment, 1_800_000_000.0)
    assert event_address.offer(grant, environment, first.until - 1) == first
    following = event_address.offer(grant, environment, first.until)
    assert following.mark != first.mark
    assert event_address.without_mark(f'"abc{first.mark}"', following.mark) is None
    [expires] = [value for name, value in parse_qsl(first.tail.decode()) if name == "expires"]
    assert int(expires) >= first.until + event_address.PERIOD


def test_a_revoked_key_ends_its_streams(server: Running, key: str, tenants: Path) -> None:
    other = add_and_wait(server, tenants)
    uri = address_of(server, key)
    with listen(server, key) as stream, listen(server, other) as kept:
        path = key_file.path_of(tenants, ProjectId("acme", "app"))
        file = key_file.parse(path.read_bytes())
        revoked = msgspec.structs.replace(file.keys[0], revoked=key_file.now())
        key_file.write(path, msgspec.structs.replace(file, keys=(revoked, *file.keys[1:])))
        assert stream.next_event() is None
        assert stream.ended
        assert server.request("GET", uri).status == 401
        assert kept.is_quiet()
        until(lambda: open_streams(server) == 1)


def test_an_environment_that_goes_ends_its_streams(server: Running, app: Path, key: str) -> None:
    uri = address_of(server, key)
    with listen(server, key) as stream:
        write_atomically(app, document("two", environments="[other]"))
        assert stream.next_event() is None
        assert stream.ended
    assert server.request("GET", uri).status == 403


def test_the_same_bytes_for_all(server: Running, app: Path, key: str) -> None:
    with ThreadPoolExecutor(16) as pool:
        streams = list(pool.map(lambda _: listen(server, key), range(STREAMS)))
        until(lambda: open_streams(server) == STREAMS)
        write_atomically(app, document("two"))
        told = set(pool.map(EventSource.next_event, streams))
        assert told == {(version_of(server, key), REFETCH)}
        for each in streams:
            each.close()
    until(lambda: open_streams(server) == 0)


def test_http_1_0(server: Running, app: Path, key: str) -> None:
    """As nginx speaks to what is behind it."""
    seen = f"Last-Event-ID: {version_of(server, key)}"
    with EventSource(server.address, address_of(server, key), seen, version="1.0") as stream:
        assert "transfer-encoding" not in stream.headers
        write_atomically(app, document("two"))
        assert stream.next_event() == (version_of(server, key), REFETCH)


def test_replaced_workers_end_their_streams(server: Running, key: str) -> None:
    with listen(server, key) as one, listen(server, key) as two:
        server.process.send_signal(signal.SIGHUP)
        assert (one.next_event(), two.next_event()) == (None, None)
        assert one.ended and two.ended
    with listen(server, key) as again:
        assert server.stop() == 0
        assert again.next_event() is None
        assert again.ended


def test_the_longest_age(app: Path, key: str, tenants: Path) -> None:
    short = ("--event-stream-heartbeat", "1", "--event-stream-age", "2")
    with running(tenants, *short) as server:
        until(lambda: server.post(BULK, CONTEXT, key=key).status == 200)
        with listen(server, key) as stream:
            assert stream.next_event() is None
            assert stream.ended
            assert stream.comments > 0
        with listen(server, key) as stream:
            assert stream.status == 200


def test_switched_off(app: Path, key: str, tenants: Path) -> None:
    with running(tenants, "--no-event-streams") as server:
        reply = until(lambda: (found := server.post(BULK, CONTEXT, key=key)).status == 200 and found)
        assert "eventStreams" not in reply.json
        assert server.request("GET", PATH, headers={"X-API-Key": key}).status == 404
        again = server.post(BULK, CONTEXT, key=key, headers={"If-None-Match": reply.headers["etag"]})
        assert again.status == 304


@pytest.mark.parametrize("other", [{}, {"TE": "x"}], ids=["front", "aiohttp"])
def test_what_offers_streams(server: Running, key: str, other: dict[str, str]) -> None:
    reply = server.post(BULK, CONTEXT, key=key, headers=other)
    assert list(reply.json) == ["flags", "metadata", "eventStreams"]
    assert "eventStreams" not in server.post(f"{BULK}/f", CONTEXT, key=key, headers=other).json
    assert "eventStreams" not in server.post(BATCH, {"contexts": [{}]}, key=key, headers=other).json
    assert "eventStreams" not in server.post(BULK, {}, key=key, headers=other).json
    tag = reply.headers["etag"]
    for known, status in (
        (tag, 304),
        (f'"x", W/{tag}', 304),
        ("*", 304),
        (tag.partition("-")[0] + '"', 200),
        (tag.partition("-")[0] + '-1"', 200),
        (tag[:-1] + tag[-6:], 200),
    ):
        again = server.post(BULK, CONTEXT, key=key, headers={"If-None-Match": known, **other})
        assert (known, again.status) == (known, status)
        assert again.headers["etag"] == tag
        assert again.body == (b"" if status == 304 else reply.body)
