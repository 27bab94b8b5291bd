"""The data plane, over real connections to a real process: every route, status and header of docs/http.md."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest

from server import keys
from server.sources import key_file
from server.sources.key_file import KeyFile
from server.types import KeyKind, ProjectId
from tests.server.conftest import add_key
from tests.server.running import BATCH, BULK, GAME, SHOP, SHOP_BOTH, SHOP_CLIENT, Running, running

ONE = {"context": {"targetingKey": "u-1", "country": "DE"}}
MANY = {"contexts": [{"targetingKey": "u-1"}]}


BAD = (b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")  # aiohttp falls back to 1.0 where it could not read the version


def one(flag: str) -> str:
    return f"{BULK}/{flag}"


# Answers


def test_one_flag(server: Running) -> None:
    reply = server.post(one("tax-engine"), ONE, key=SHOP)
    assert reply.status == 200
    assert reply.json == {
        "key": "tax-engine",
        "value": "oss-2026",
        "variant": "eu",
        "reason": "TARGETING_MATCH",
        "metadata": {"flagSetId": "shop/web/production", "version": reply.headers["burgee-version"]},
    }
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "private, no-store"
    assert int(reply.headers["burgee-age"]) >= 0


def test_all_flags_are_those_of_one_project(server: Running) -> None:
    flags = {each["key"]: each for each in server.post(BULK, ONE, key=SHOP).json["flags"]}
    assert len(flags) == 13
    assert flags["tax-engine"]["variant"] == "eu"
    assert "season-pass" in {each["key"] for each in server.post(BULK, ONE, key=GAME).json["flags"]}


def test_a_batch_in_both_formats_and_both_encodings_says_the_same(server: Running) -> None:
    contexts = [{"targetingKey": f"u-{n}", "country": ("DE", "US", "GB")[n % 3]} for n in range(30)]
    body = {"contexts": contexts, "flags": ["new-checkout", "tax-engine", "nothing"]}
    full = server.post(BATCH, body, key=SHOP)
    compact = server.post(BATCH, {**body, "format": "compact"}, key=SHOP)
    packed = server.post(BATCH, {**body, "format": "compact"}, key=SHOP, headers={"Accept": "application/msgpack"})
    assert full.status == compact.status == packed.status == 200
    assert packed.headers["content-type"] == "application/msgpack"
    assert full.headers["vary"] == "Accept"
    assert msgspec.msgpack.decode(packed.body) == compact.json
    for row, indices in zip(full.json["results"], compact.json["results"], strict=True):
        for entry, index, outcomes in zip(row["flags"], indices, compact.json["outcomes"], strict=True):
            outcome = outcomes[index]
            assert {name: entry.get(name) for name in outcome} == outcome
    singles = [server.post(one("new-checkout"), {"context": context}, key=SHOP).json["variant"] for context in contexts]
    assert singles == [row["flags"][0]["variant"] for row in full.json["results"]]


def test_the_access_log_says_who_asked_whom(samples: Path, tmp_path: Path) -> None:
    with running(samples, "--access-log", "--state", str(tmp_path / "state")) as server:
        server.post(BULK, ONE, key=SHOP)
        server.post(BULK, ONE)
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    found = [(each["tenant"], each["environment"]) for each in lines if each["event"] == "request"]
    assert found == [("shop", "shop/web/production"), (None, None)]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/vnd.msgpack", "application/vnd.msgpack"),
        ("application/json, application/msgpack", "application/json"),
        ("application/msgpack;q=0", "application/json"),
        ("application/json;q=0.1, application/msgpack;q=0.2", "application/msgpack"),
        ("application/msgpack;q=x", "application/json"),
    ],
)
def test_what_accept_chooses(server: Running, accept: str | None, content_type: str) -> None:
    reply = server.post(BATCH, MANY, key=SHOP, headers={"Accept": accept} if accept else {})
    assert (reply.status, reply.headers["content-type"]) == (200, content_type)


def test_a_client_key_sees_client_visible_flags_only(server: Running) -> None:
    seen = {each["key"] for each in server.post(BULK, ONE, key=SHOP_CLIENT).json["flags"]}
    assert "new-checkout" in seen
    assert "bot-protection" not in seen
    hidden, absent = (server.post(one(flag), ONE, key=SHOP_CLIENT) for flag in ("bot-protection", "nothing"))
    assert hidden.status == absent.status == 404
    assert hidden.body.replace(b"bot-protection", b"") == absent.body.replace(b"nothing", b"")
    batch = server.post(BATCH, {**MANY, "flags": ["bot-protection"]}, key=SHOP_CLIENT).json
    assert batch["results"][0]["flags"][0]["errorCode"] == "FLAG_NOT_FOUND"


# Entity tags


def test_an_answer_that_is_known_is_not_sent_again(server: Running) -> None:
    first = server.post(BULK, ONE, key=SHOP)
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*", f'"a","b",W/{tag}'):
        reply = server.post(BULK, ONE, key=SHOP, headers={"If-None-Match": known})
        assert (reply.status, reply.body, reply.headers["etag"]) == (304, b"", tag)
        assert reply.headers["burgee-version"] == first.headers["burgee-version"]
    for unknown in ('"other"', "junk", tag.strip('"'), ""):
        assert server.post(BULK, ONE, key=SHOP, headers={"If-None-Match": unknown}).status == 200


def test_tags_tell_apart_contexts_key_kinds_and_projects(server: Running) -> None:
    tags = [
        server.post(BULK, body, key=key).headers["etag"]
        for body, key in (
            (ONE, SHOP),
            ({"context": {"targetingKey": "u-1", "country": "US"}}, SHOP),
            (ONE, SHOP_CLIENT),
            (ONE, GAME),
        )
    ]
    assert len(set(tags)) == 4
    unread = {"context": {**ONE["context"], "nobody": "reads this"}}
    assert server.post(BULK, unread, key=SHOP).headers["etag"] == tags[0]


def test_a_failure_has_no_tag_and_is_sent_even_to_a_star(server: Running) -> None:
    reply = server.post(BULK, {"context": 1}, key=SHOP, headers={"If-None-Match": "*"})
    assert reply.status == 400
    assert "etag" not in reply.headers


# Refusals


@pytest.mark.parametrize("path", [BULK, one("new-checkout")])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "PARSE_ERROR"),
        (b"{", "PARSE_ERROR"),
        (b'{"context":{"a":1,"a":2}}', "PARSE_ERROR"),
        (b'{"context":{"a":NaN}}', "PARSE_ERROR"),
        (b'{"context":{"a":"\\ud800"}}', "PARSE_ERROR"),
        (b'\xef\xbb\xbf{"context":{}}', "PARSE_ERROR"),
        (b"[" * 5000, "PARSE_ERROR"),
        (b"{}", "INVALID_CONTEXT"),
        (b'{"context":null}', "INVALID_CONTEXT"),
        (b"[]", "INVALID_CONTEXT"),
    ],
)
def test_bodies_that_cannot_be_evaluated(server: Running, path: str, body: bytes, code: str) -> None:
    reply = server.post(path, body, key=SHOP)
    assert (reply.status, reply.json["errorCode"]) == (400, code)
    assert isinstance(reply.json["errorDetails"], str)
    assert ("key" in reply.json) == (path != BULK)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "INVALID_CONTEXT"),
        ({"contexts": {}}, "INVALID_CONTEXT"),
        ({"contexts": [{}, 1]}, "INVALID_CONTEXT"),
        ({"contexts": [], "format": "wide"}, "INVALID_CONTEXT"),
        ({"contexts": [], "flags": "all"}, "INVALID_CONTEXT"),
        (b"{", "PARSE_ERROR"),
    ],
)
def test_batches_that_cannot_be_evaluated(server: Running, body: Any, code: str) -> None:
    for accept in ("application/json", "application/msgpack"):
        reply = server.post(BATCH, body, key=SHOP, headers={"Accept": accept})
        assert (reply.status, reply.headers["content-type"]) == (400, "application/json")
        assert reply.json["errorCode"] == code
    assert server.post(BATCH, {"contexts": [{}, 1]}, key=SHOP).json["errorDetails"].count("1") >= 1


def test_no_such_flag(server: Running) -> None:
    for flag in ("nothing", "%20", "a%2Fb", "x" * 7000, "%00" * 100, "%ff", "%22"):
        reply = server.post(one(flag), ONE, key=SHOP)
        assert (reply.status, reply.json["errorCode"]) == (404, "FLAG_NOT_FOUND")
        assert reply.json["key"] == unquote(flag, errors="surrogateescape").replace("\udcff", "%ff")


def test_a_split_without_a_key(server: Running) -> None:
    reply = server.post(one("new-checkout"), {"context": {"country": "DE"}}, key=SHOP)
    assert (reply.status, reply.json["errorCode"]) == (400, "TARGETING_KEY_MISSING")
    bulk = server.post(BULK, {"context": {"country": "DE"}}, key=SHOP)
    assert bulk.status == 200
    codes = {each["key"]: each.get("errorCode") for each in bulk.json["flags"]}
    assert codes["new-checkout"] == "TARGETING_KEY_MISSING"
    assert codes["reviews"] is None


def changed(key: str) -> str:
    """Another key of the same form, with a right checksum."""
    _, kind, selector, _ = key.split("_")
    return keys.assemble(KeyKind(kind), selector, "x" * 43)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": f"Basic {SHOP}"},
        {"Authorization": SHOP},
        {"Authorization": f"Bearer {SHOP[:-1]}"},
        {"Authorization": f"Bearer {changed(SHOP)}"},
        {"X-API-Key": changed(SHOP)},
        {"Authorization": f"Bearer {SHOP}", "X-API-Key": GAME},
        {"Authorization": f"Bearer {'x' * 5000}"},
    ],
)
@pytest.mark.parametrize("path", [BULK, BATCH, one("new-checkout")])
def test_keys_that_open_nothing(server: Running, path: str, headers: dict[str, str]) -> None:
    reply = server.post(path, {**ONE, **MANY}, headers=headers)
    assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert list(reply.json) == ["errorDetails"]
    assert b"burgee_" not in reply.body and b"nonsense" not in reply.body


def test_a_key_may_come_in_either_header(server: Running) -> None:
    for headers in (
        {"X-API-Key": SHOP},
        {"authorization": f"bearer  {SHOP}"},
        {"X-API-Key": SHOP, "Authorization": f"Bearer {SHOP}"},
    ):
        assert server.post(BULK, ONE, headers=headers).status == 200


def test_a_key_for_several_environments_names_one(server: Running) -> None:
    unnamed = server.post(BULK, ONE, key=SHOP_BOTH)
    assert (unnamed.status, unnamed.json["errorCode"]) == (400, "GENERAL")
    versions = {}
    for environment in ("staging", "production"):
        reply = server.post(BULK, ONE, key=SHOP_BOTH, headers={"Burgee-Environment": environment})
        assert reply.json["metadata"]["flagSetId"] == f"shop/web/{environment}"
        versions[environment] = {each["key"]: each.get("variant") for each in reply.json["flags"]}["gift-wrapping"]
    assert versions == {"staging": "on", "production": "off"}
    for elsewhere in ("", "other", "../../bank/mobile/production", "live"):
        assert server.post(BULK, ONE, key=SHOP_BOTH, headers={"Burgee-Environment": elsewhere}).status == 403
    assert server.post(BULK, ONE, key=SHOP, headers={"Burgee-Environment": "staging"}).status == 403
    assert server.post(BULK, ONE, key=SHOP, headers={"Burgee-Environment": "production"}).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", [BULK, BATCH, one("new-checkout")])
def test_other_methods(server: Running, path: str, method: str) -> None:
    reply = server.request(method, path)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/evaluate/", "/ofrep/v1/configuration", f"{BULK}/a/b", f"/{BULK}", "/V1/EVALUATE"]
)
def test_no_such_path(server: Running, path: str) -> None:
    reply = server.post(path, ONE, key=SHOP)
    assert (reply.status, list(reply.json)) == (404, ["errorDetails"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "identity"},
    ],
)
def test_bodies_of_other_kinds(server: Running, headers: dict[str, str]) -> None:
    assert server.post(BULK, ONE, key=SHOP, headers=headers).status == 415


def test_a_content_type_may_have_parameters(server: Running) -> None:
    assert server.post(BULK, ONE, key=SHOP, headers={"Content-Type": "Application/JSON; charset=utf-8"}).status == 200


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("1771622898", 200),
        ("0", 200),
        ("2026-02-20T21:28:18Z", 200),
        ("2026-02-20T21:28:18+01:00", 200),
        ("-1", 400),
        ("soon", 400),
        ("2026-02-20T21:28:18", 400),
        ("", 400),
    ],
)
def test_what_an_event_announced_is_checked_and_changes_nothing(server: Running, value: str, status: int) -> None:
    reply = server.post(f"{BULK}?flagConfigEtag=abc&flagConfigLastModified={value}", ONE, key=SHOP)
    assert reply.status == status
    assert status == 200 or reply.json["errorCode"] == "GENERAL"


def test_what_is_not_http_is_not_repeated(server: Running) -> None:
    for head in (
        b"POST /v1/evaluate HTTP/1.1\r\nHost: a\r\nX-API-Key : SECRET\r\n\r\n",
        b"POST /v1/evaluate HTTP/1.1\r\nHost: a\r\nX-API-Key: SEC\x01RET\r\n\r\n",
        b"SECRET\r\n\r\n",
        b"POST /SECRET HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ):
        answer = server.raw(head)
        assert answer.startswith(BAD)
        assert b"SEC" not in answer
    assert "SEC" not in server.log.read_text()


def test_a_chunked_body_is_read(server: Running) -> None:
    body = json.dumps(ONE).encode()
    head = f"POST {BULK} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {SHOP}\r\n"
    head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    assert server.raw(head.encode() + chunks).startswith(b"HTTP/1.1 200 ")
    assert server.raw(head.encode() + b"zz\r\n\r\n").startswith(BAD)


def test_a_body_is_asked_for_only_when_the_request_is_not_refused_without_it(server: Running) -> None:
    body = json.dumps(ONE).encode()
    head = f"POST {BULK} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
    expecting = f"{head}Expect: 100-continue\r\nContent-Length: "
    assert server.raw(f"{expecting}100\r\n\r\n".encode()).startswith(b"HTTP/1.1 401 ")
    authorized = f"X-API-Key: {SHOP}\r\n\r\n"
    assert server.raw(f"{expecting}100000000\r\n{authorized}".encode()).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(server.address, timeout=60) as connection:
        connection.sendall(f"{expecting}{len(body)}\r\n{authorized}".encode())
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    # what is expected is not repeated
    other = server.raw(f"{head}Expect: SECRET\r\nContent-Length: {len(body)}\r\n{authorized}".encode() + body)
    assert other.startswith(b"HTTP/1.1 200 ")


# Limits: a server of its own

DOCUMENT = "flags: {a: {type: boolean, variants: {yes: true}, fallthrough: yes}}"


def test_limits(tenants: Path) -> None:
    (tenants / "acme" / "app.yaml").write_text(DOCUMENT)
    key = add_key(tenants)
    with running(tenants, "--max-body-bytes", "1000", "--body-timeout", "0.2") as server:
        assert server.post(BULK, {"context": {}}, key=key).status == 200
        large = json.dumps({"context": {"a": "x" * 2000}}).encode()
        assert server.post(BULK, large, key=key).status == 413
        head = f"POST {BULK} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-API-Key: {key}\r\n"
        head += "Content-Type: application/json\r\n"
        chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
        assert server.raw(head.encode() + chunked).startswith(b"HTTP/1.1 413 ")
        # 100 MB are announced, and refused before any of it is sent
        assert server.raw(head.encode() + b"Content-Length: 100000000\r\n\r\n").startswith(b"HTTP/1.1 413 ")
        with socket.create_connection(server.address, timeout=60) as dripping:
            dripping.sendall(head.encode() + b"Content-Length: 20\r\n\r\n{")
            answer = dripping.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert server.post(BULK, {"context": {}}, key=key).status == 200


def test_a_tenant_over_its_rate(tenants: Path) -> None:
    (tenants / "acme" / "app.yaml").write_text(DOCUMENT)
    key = add_key(tenants)
    with running(tenants, "--tenant-requests", "0.001") as server:
        assert server.post(BULK, {"context": {}}, key=key).status == 200
        reply = server.post(BULK, {"context": {}}, key=key)
        assert reply.status == 429
        assert 1 <= int(reply.headers["retry-after"]) <= 1000
        assert server.post(BULK, {"context": {}}).status == 401  # nobody's tenant


def test_key_kinds_and_expiry(tenants: Path) -> None:
    (tenants / "acme" / "app.yaml").write_text(DOCUMENT)
    kinds = {kind: add_key(tenants, kind=kind) for kind in KeyKind}
    path = key_file.path_of(tenants, ProjectId("acme", "app"))
    late, soon = add_key(tenants), add_key(tenants)
    moments = {late: timedelta(seconds=-1), soon: timedelta(hours=1)}
    records = [
        msgspec.structs.replace(each, expires=datetime.now(UTC) + shift)
        if (shift := {keys.selector_of(key): value for key, value in moments.items()}.get(each.selector))
        else each
        for each in key_file.parse(path.read_bytes()).keys
    ]
    key_file.write(path, KeyFile(tuple(records)))
    elsewhere = add_key(tenants, "production")
    with running(tenants) as server:
        statuses = {kind: server.post(BULK, {"context": {}}, key=key).status for kind, key in kinds.items()}
        assert statuses == {KeyKind.SERVER: 200, KeyKind.CLIENT: 200, KeyKind.EDGE: 403, KeyKind.ADMIN: 403}
        assert server.post(BULK, {"context": {}}, key=late).status == 401
        assert server.post(BULK, {"context": {}}, key=soon).status == 200
        assert server.post(BULK, {"context": {}}, key=elsewhere).status == 403


def test_many_at_once(server: Running) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: server.post(BULK, ONE, key=(SHOP, GAME)[n % 2]), range(200)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 2
