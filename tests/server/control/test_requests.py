"""What every route has in common: problems for whatever is wrong with a request, If-Match, Idempotency-Key, secrets."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import structlog

from server import keys as text_of_keys
from server.control.api import tenants as tenants_api
from server.control.api.frame import Answer, Call, Route
from server.control.first_key import make_first_key
from server.control.roles import Need, Role
from server.record import tenants as tenant_rows
from server.record.database import RecordUnavailableError
from tests.server.control.running import Plane, running


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b'{"name": "a", "name": "b"}', 400, "twice"),
        (b'{"name": "a", "quotas": {"streams": 1, "streams": 2}}', 400, "twice"),
        (b'{"name": "a", "title": "\\u0000"}', 400, "U+0000"),
        (b'{"name": "a", "title": "\\ud800"}', 400, "surrogate"),
        (b'{"name": "a", "\\u0000": 1}', 400, "U+0000"),
        (b'{"name": "a", "title": NaN}', 400, "NaN"),
        (b'{"name": "a", "title": 1e999}', 400, "too large"),
        (b'{"name": "a", "title": %s}' % (b"9" * 5000), 400, "too large"),
        (b'{"name": "a", "title": %s}' % (b"[" * 200 + b"]" * 200), 400, "nested"),
        (b'{"name": "a", "title": %s}' % (b"[" * 90_000 + b"]" * 90_000), 400, "nested"),
        (b'{"name": "a"', 400, "not JSON"),
        (b"", 400, "not JSON"),
        (b"\xff", 400, "UTF-8"),
        (b"[]", 422, "expected"),
        (b'{"name": "..", "title": ""}', 422, "name"),
        (b'{"name": "web.keys"}', 422, "name"),
        (b'{"name": "a\\n"}', 422, "name"),
        (b'{"name": "a/b"}', 422, "name"),
        (b'{"name": "a", "quotas": {"streams": -1}}', 422, "quotas.streams"),
        (b'{"name": "a", "quotas": {"mode": "zqx-secret"}}', 422, "quotas.mode"),
        (b'{"name": "a", "zqx-secret": 1}', 422, "unknown member"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(
    plane: Plane, body: bytes, status: int, detail: str
) -> None:
    reply = plane.ask("POST", "/tenants", body)
    assert reply.status == status and detail in reply.json["detail"], reply.body
    assert reply.code in ("bad-request", "invalid") and b"zqx-secret" not in reply.body
    assert plane.ask("GET", "/tenants").json["items"] == []


def test_every_refusal_is_a_problem(plane: Plane) -> None:
    assert plane.ask("GET", "/nothing").code == "not-found"
    assert plane.ask("GET", "/tenants/a%2Fb").code == "not-found"
    assert plane.ask("GET", "/tenants/a%00b").code == "not-found"
    not_allowed = plane.ask("PUT", "/tenants", {})
    assert not_allowed.code == "method-not-allowed" and not_allowed.headers["allow"] == "GET, POST"
    assert plane.ask("HEAD", "/tenants").status == 405
    typed = {"Content-Type": "text/plain"}
    assert plane.ask("POST", "/tenants", b"{}", headers=typed).code == "unsupported-media-type"
    assert plane.ask("POST", "/tenants", b"{}", headers={"Content-Encoding": "gzip"}).status == 415
    assert plane.ask("GET", "/tenants", headers={"Authorization": "Basic eA=="}).code == "unauthorized"
    huge = b"POST /api/v1/tenants HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n"
    with socket.create_connection(("127.0.0.1", plane.port), timeout=60) as connection:
        connection.sendall(huge + f"Authorization: Bearer {plane.owner}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_two_editors_of_one_thing_do_not_lose_a_change(either: Plane) -> None:
    either.ask("POST", "/tenants", {"name": "shop"})

    def edit(number: int) -> int:
        return either.ask("PATCH", "/tenants/shop", {"title": str(number)}, match='"1"').status

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(edit, range(8)))
    assert statuses == [200] + [412] * 7


def test_two_who_make_the_same_make_one(either: Plane) -> None:
    def make(_: int) -> int:
        return either.ask("POST", "/tenants", {"name": "shop"}).status

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(make, range(8)))
    assert statuses == [201] + [409] * 7


def test_the_same_request_again_gets_the_first_answer_again(either: Plane) -> None:
    once = {"Idempotency-Key": "7f3a"}
    first = either.ask("POST", "/tenants", {"name": "shop"}, headers=once)
    again = either.ask("POST", "/tenants", {"name": "shop"}, headers=once)
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert again.headers["idempotency-replayed"] == "true" and "idempotency-replayed" not in first.headers
    assert {"etag", "location"} <= again.headers.keys()
    assert either.ask("POST", "/tenants", {"name": "bank"}, headers=once).code == "idempotency-key-reused"
    assert either.ask("POST", "/tenants", {"name": "x"}, headers={"Idempotency-Key": "a b"}).code == "bad-request"
    other = either.new_key(role="owner")
    assert either.ask("POST", "/tenants", {"name": "bank"}, headers=once, key=other).status == 201
    failed = {"Idempotency-Key": "failed"}
    assert either.ask("POST", "/tenants", {"name": "shop"}, headers=failed).status == 409
    etag = either.ask("GET", "/tenants/shop").headers["etag"]
    assert either.ask("DELETE", "/tenants/shop", match=etag).status == 204
    assert either.ask("POST", "/tenants", {"name": "shop"}, headers=failed).status == 201


def test_two_at_the_same_time_are_done_once(either: Plane) -> None:
    either.ask("POST", "/tenants", {"name": "shop"})

    def make(_: int) -> int:
        body, once = {"kind": "edge"}, {"Idempotency-Key": "same"}
        return either.ask("POST", "/tenants/shop/keys", body, headers=once).status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(make, range(8)))
    assert set(statuses) <= {201, 409} and 201 in statuses
    assert len(either.ask("GET", "/tenants/shop/keys").json["items"]) == 1


def test_a_key_is_not_kept_for_the_same_request_again(plane: Plane, tmp_path: Path) -> None:
    once = {"Idempotency-Key": "key"}
    first = plane.ask("POST", "/keys", {"kind": "edge"}, headers=once).json
    again = plane.ask("POST", "/keys", {"kind": "edge"}, headers=once).json
    assert first["key"] and again == {**first, "key": None}
    secret = first["key"].rpartition("_")[2]
    assert not any(secret.encode() in each.read_bytes() for each in _files(plane))


def _files(plane: Plane) -> list[Path]:
    database = Path(str(plane.record.engine.url.database))
    return [each for each in database.parent.iterdir() if each.name.startswith(database.name)]


def test_secrets_are_in_no_log_error_or_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from server.control import app
    from server.logs import configure_logs

    async def fail(call: Call[Any, None]) -> Answer:
        raise RuntimeError("it went wrong")

    broken = Route("broken", "POST", "/broken", Need(Role.VIEWER), fail, "fails", body=tenants_api.NewTenant)
    monkeypatch.setattr(app, "ROUTES", (*app.ROUTES, broken))
    try:
        for form in ("json", "text"):
            configure_logs(form, "debug")
            folder = tmp_path / form
            with running(f"sqlite:///{folder / 'record.db'}") as plane:
                secret = plane.owner.rpartition("_")[2]
                hook = {"url": "http://x.example/zqx-path", "events": ["publish"], "secret": "zqx-secret-of-the-hook"}
                assert plane.ask("POST", "/tenants", {"name": "shop"}).status == 201
                assert plane.ask("POST", "/tenants/shop/webhooks", hook).status == 201
                shown = [plane.ask("GET", each).body.decode() for each in ("/audit", "/tenants/shop/audit", "/keys")]
                answers = [
                    plane.ask("POST", "/broken", {"name": "zqx-body"}),
                    plane.ask("POST", "/keys", {"kind": plane.owner}),
                    plane.ask("POST", "/keys", {"kind": "edge", "sha256": plane.owner}),
                    plane.ask("GET", f"/keys/{plane.owner}"),
                    plane.ask("GET", "/tenants", key=plane.owner + "x"),
                    plane.ask("GET", f"/tenants?after={plane.owner}&what={plane.owner}"),
                    plane.ask("POST", "/tenants/shop/webhooks", {**hook, "url": "zqx-url"}),
                ]
                assert answers[0].code == "internal" and all(each.status >= 400 for each in answers)
                said = "".join([*shown, *(each.body.decode() for each in answers)])
            logged = capfd.readouterr().err
            assert "it went wrong" in logged
            for text in (said, logged):
                assert secret not in text and "zqx" not in text, text
    finally:
        structlog.reset_defaults()


def test_a_record_that_is_away_is_503(tmp_path: Path) -> None:
    database = tmp_path / "record.db"
    with running(f"sqlite:///{database}") as plane:
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            reply = plane.ask("POST", "/tenants", {"name": "shop"})
            assert reply.code == "unavailable" and int(reply.headers["retry-after"]) >= 1
            assert plane.ask("GET", "/tenants").status == 200
        assert plane.ask("POST", "/tenants", {"name": "shop"}).status == 201


def test_a_change_that_failed_changed_nothing_and_told_nobody(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    plane.ask("POST", "/tenants", {"name": "late"})
    plane.ask("POST", "/tenants/late/projects", {"name": "web"})
    heard, row = list(plane.feed.heard), plane.ask("GET", "/tenants/late/projects/web")

    async def unreachable(*_: Any, **__: Any) -> Any:
        raise RecordUnavailableError("the record cannot be reached: of the test")

    monkeypatch.setattr(tenant_rows, "note", unreachable)
    failed = plane.ask("DELETE", "/tenants/late/projects/web", match=row.headers["etag"])
    assert failed.json["detail"] == "the record cannot be reached now"  # and not what a driver says of it
    assert failed.code == "unavailable" and plane.feed.heard == heard
    assert plane.ask("GET", "/tenants/late/projects/web").body == row.body


def test_the_first_owner_is_made_once_and_only_we_can_read_it(either: Plane, tmp_path: Path) -> None:
    file = tmp_path / "state" / "admin.key"
    assert not either.run(make_first_key(either.record, file)) and not file.exists()
    either.change(lambda tx: tx.exec_driver_sql("DELETE FROM keys"))
    assert either.run(make_first_key(either.record, file))
    assert file.stat().st_mode & 0o777 == 0o600
    key = file.read_text().strip()
    assert either.ask("GET", "/keys", key=key).json["items"][0]["selector"] == text_of_keys.selector_of(key)
    assert either.ask("POST", "/tenants", {"name": "shop"}, key=key).status == 201
    assert not either.run(make_first_key(either.record, file)) and file.read_text().strip() == key


def test_a_key_that_expires_is_refused_without_anybody_being_told(plane: Plane) -> None:
    key = plane.new_key(role="viewer", expires_at=time.time() + 1.0)
    deadline = time.monotonic() + 30
    statuses = [plane.ask("GET", "/keys", key=key).status]
    while statuses[-1] != 401 and time.monotonic() < deadline:
        time.sleep(0.2)
        statuses.append(plane.ask("GET", "/keys", key=key).status)
    assert statuses[-1] == 401
