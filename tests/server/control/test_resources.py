"""Tenants, projects, environments, keys and webhooks: made, read, changed, deleted, made again, on both databases."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server import keys as text_of_keys
from server.record.audit import Actor, note
from server.record.history import environment_row
from server.record.projects import record_of, touch
from server.state.records import ProjectRecord
from server.types import EnvironmentId, KeyKind, ProjectId
from tests.server.control.running import Plane, Reply, running

WEB = ProjectId("shop", "web")


def made(reply: Reply) -> Any:
    assert reply.status == 201, reply.body
    return reply.json


def shop(plane: Plane) -> None:
    made(plane.ask("POST", "/tenants", {"name": "shop", "title": "The shop"}))
    made(plane.ask("POST", "/tenants/shop/projects", {"name": "web"}))
    made(plane.ask("POST", "/tenants/shop/projects/web/environments", {"name": "production"}))


def hosts_see(plane: Plane, project: ProjectId = WEB) -> ProjectRecord:
    async def read() -> ProjectRecord:
        async with plane.record.look() as tx:
            found = await record_of(tx, project)
            assert found is not None
            return found

    return plane.run(read())


def test_a_tenant_is_made_changed_deleted_and_made_again(either: Plane) -> None:
    reply = either.ask("POST", "/tenants", {"name": "shop", "quotas": {"streams": 5, "mode": "warn"}})
    assert made(reply)["quotas"] == {"streams": 5, "mode": "warn"}
    assert reply.headers["location"] == "/api/v1/tenants/shop"
    assert either.ask("POST", "/tenants", {"name": "shop"}).code == "exists"
    assert either.ask("PATCH", "/tenants/shop", {"title": "x"}).status == 428
    stale = either.ask("PATCH", "/tenants/shop", {"title": "x"}, match='"7"')
    assert (stale.status, stale.json["current"]["revision"], stale.headers["etag"]) == (412, 1, '"1"')
    changed = either.ask("PATCH", "/tenants/shop", {"title": "x"}, match=reply.headers["etag"])
    assert (changed.status, changed.json["title"], changed.json["quotas"]) == (200, "x", {"streams": 5, "mode": "warn"})
    assert either.ask("DELETE", "/tenants/shop", match='W/"2"').status == 204
    assert either.ask("GET", "/tenants/shop").status == 404
    again = made(either.ask("POST", "/tenants", {"name": "shop"}))
    assert (again["title"], again["quotas"], again["revision"]) == ("", {}, 4)


def test_deleting_a_project_empties_what_its_hosts_have(either: Plane) -> None:
    shop(either)
    key = made(either.ask("POST", "/tenants/shop/keys", {"kind": "server", "project": "web"}))
    before = hosts_see(either)
    assert [each.selector for each in before.keys] == [key["selector"]]
    etag = either.ask("GET", "/tenants/shop/projects/web").headers["etag"]
    assert either.ask("DELETE", "/tenants/shop/projects/web", match=etag).status == 204
    gone = hosts_see(either)
    assert gone.gone and gone.version > before.version and either.feed.heard[-1] == (WEB, gone.version)
    assert either.ask("GET", "/tenants/shop/projects/web/environments").status == 404
    made(either.ask("POST", "/tenants/shop/projects", {"name": "web"}))
    assert either.ask("GET", "/tenants/shop/projects/web/environments").json == {"items": [], "next": None}
    made(either.ask("POST", "/tenants/shop/projects/web/environments", {"name": "production"}))
    again = hosts_see(either)
    assert not again.keys and again.version > gone.version
    assert either.ask("GET", f"/tenants/shop/keys/{key['selector']}").json["state"] == "revoked"


def test_an_environment_tells_its_hosts_of_origins(either: Plane) -> None:
    shop(either)
    path = "/tenants/shop/projects/web/environments/production"
    found = either.ask("GET", path)
    assert found.json["settings"]["lintGate"] == "error" and found.json["version"] == 0
    body = {"settings": {"approvals": 2, "impactThreshold": 0.25}}
    quiet = either.ask("PATCH", path, body, match=found.headers["etag"])
    number = hosts_see(either).version
    assert quiet.json["settings"]["approvals"] == 2
    loud = {"settings": {"origins": ["https://shop.example"]}}
    heard = either.ask("PATCH", path, loud, match=quiet.headers["etag"]).json["settings"]
    assert (heard["approvals"], heard["impactThreshold"]) == (2, 0.25)
    assert hosts_see(either).origins == {"production": ("https://shop.example",)}
    assert hosts_see(either).version == number + 1 == either.feed.heard[-1][1]
    odd = either.ask("PATCH", path, {"settings": {"origins": ["HTTPS://Shop.example/"]}}, match="*")
    assert odd.status == 422 and odd.json["detail"].startswith("settings.origins[0]: not an origin")
    assert either.ask("DELETE", path, match="*").status == 204
    assert hosts_see(either).origins == {}


def test_settings_of_a_newer_program_are_passed_over_and_stay(either: Plane) -> None:
    shop(either)
    path = "/tenants/shop/projects/web/environments/production"
    either.change(
        lambda tx: tx.exec_driver_sql("""UPDATE environments SET settings = '{"approvals": 3, "newer": 1}'""")
    )
    either.change(lambda tx: tx.exec_driver_sql("""UPDATE tenants SET quotas = '{"streams": 3, "newer": 1}'"""))
    assert either.ask("GET", "/tenants/shop").json["quotas"] == {"streams": 3}
    changed = either.ask("PATCH", path, {"settings": {"lintGate": "off"}}, match="*").json["settings"]
    assert (changed["approvals"], changed["lintGate"], "newer" in changed) == (3, "off", False)
    assert b'"newer":1' in either.ask("GET", "/tenants/shop/audit").body


def test_a_key_is_shown_once_and_dies_when_it_is_revoked(either: Plane) -> None:
    shop(either)
    body = {"kind": "client", "project": "web", "environments": ["production"], "name": "the page"}
    new = made(either.ask("POST", "/tenants/shop/keys", body))
    assert text_of_keys.selector_of(new["key"]) == new["selector"] and new["key"].startswith("burgee_client_")
    path = f"/tenants/shop/keys/{new['selector']}"
    shown = either.ask("GET", path).json
    assert "key" not in shown and shown["state"] == "active" and new["key"] not in either.ask("GET", path).body.decode()
    (grant,) = hosts_see(either).keys
    assert grant.digest == text_of_keys.digest_of(new["key"]) and grant.environments == ("production",)
    later = either.ask("PATCH", path, {"expiresAt": "2999-01-01T00:00:00Z"}, match='"1"')
    assert later.json["expiresAt"] == "2999-01-01T00:00:00Z" and hosts_see(either).keys[0].expires is not None
    assert either.ask("POST", f"{path}/revoke").json["state"] == "revoked"
    assert hosts_see(either).keys == ()
    assert either.ask("POST", f"{path}/revoke").json["revision"] == 3
    assert either.ask("PATCH", path, {"name": "x"}, match="*").code == "revoked"


def test_a_key_that_exists_elsewhere_is_taken_over_by_its_digest(either: Plane) -> None:
    shop(either)
    key = text_of_keys.new_key(KeyKind.SERVER)
    known = {"selector": text_of_keys.selector_of(key), "sha256": text_of_keys.digest_of(key).hex()}
    reply = either.ask("POST", "/tenants/shop/keys", {"kind": "server", "project": "web", **known})
    assert made(reply)["key"] is None
    assert hosts_see(either).keys[0].digest == text_of_keys.digest_of(key)
    again = either.ask("POST", "/tenants/shop/keys", {"kind": "server", "project": "web", **known})
    assert again.code == "exists"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"kind": "server"}, "project"),
        ({"kind": "server", "project": "none"}, "project"),
        ({"kind": "server", "project": "web", "environments": ["none"]}, "environments[0]"),
        ({"kind": "server", "project": "web", "role": "owner"}, "role"),
        ({"kind": "admin"}, "role"),
        ({"kind": "admin", "role": "editor", "project": "web", "environments": ["production"]}, "environments"),
        ({"kind": "edge", "environments": ["production"]}, "environments"),
        ({"kind": "edge", "selector": "0123456789abcdef"}, "sha256"),
        ({"kind": "edge", "expiresAt": "2001-01-01T00:00:00Z"}, "expiresAt"),
        ({"kind": "edge", "expiresAt": "9999-12-31T23:59:59-12:00"}, "expiresAt"),
        ({"kind": "edge", "colour": "red"}, "unknown member"),
        ({"kind": "burgee_server_secret"}, "kind"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_with_the_place(plane: Plane, body: Any, place: str) -> None:
    if plane.ask("GET", "/tenants/shop").status == 404:
        shop(plane)
    reply = plane.ask("POST", "/tenants/shop/keys", body)
    assert (reply.status, reply.code) == (422, "invalid") and reply.json["detail"].startswith(place), reply.body
    assert b"burgee_server_secret" not in reply.body


def test_the_last_owner_of_the_instance_stays(plane: Plane) -> None:
    selector = text_of_keys.selector_of(plane.owner)
    assert plane.ask("POST", f"/keys/{selector}/revoke").code == "last-owner"
    etag = plane.ask("GET", f"/keys/{selector}").headers["etag"]
    soon = (datetime.now(UTC) + timedelta(seconds=60)).isoformat()
    assert plane.ask("PATCH", f"/keys/{selector}", {"expiresAt": soon}, match=etag).code == "last-owner"
    assert plane.ask("PATCH", f"/keys/{selector}", {"expiresAt": None}, match=etag).status == 200
    other = made(plane.ask("POST", "/keys", {"kind": "admin", "role": "owner"}))
    assert plane.ask("POST", f"/keys/{other['selector']}/revoke", key=other["key"]).status == 200
    assert plane.ask("GET", "/keys", key=other["key"]).status == 401


def test_of_two_owners_that_revoke_each_other_one_stays(either: Plane) -> None:
    for _ in range(5):
        other = either.new_key(role="owner")
        owners = (either.owner, other)
        with ThreadPoolExecutor(2) as pool:
            replies = list(pool.map(revoke, (either, either), owners, reversed(owners)))
        assert sorted(replies) in ([200, 401], [200, 409]), replies
        left = other if replies[0] == 401 or replies[1] == 200 else either.owner
        either = replace(either, owner=left)
        assert either.ask("GET", "/keys").status == 200


def revoke(plane: Plane, mine: str, theirs: str) -> int:
    return plane.ask("POST", f"/keys/{text_of_keys.selector_of(theirs)}/revoke", key=mine).status


def test_status_says_that_the_instance_is_paused(plane: Plane) -> None:
    if plane.ask("GET", "/tenants/shop").status == 404:
        shop(plane)
    assert plane.ask("POST", "/pause").status == 200
    paused = plane.ask("GET", "/status").json
    assert paused["paused"] and paused["items"] and all(each["held"] for each in paused["items"])
    assert plane.ask("POST", "/resume").status == 200
    resumed = plane.ask("GET", "/status").json
    assert not resumed["paused"] and not any(each["held"] for each in resumed["items"])


@pytest.mark.parametrize("path", ["/tenants/shop", "/tenants/shop/projects/web"])
def test_who_deletes_waits_for_a_publish(postgres_url: str, path: str) -> None:
    """It locks as publishing does: environment, project, tenant."""
    with running(postgres_url) as plane:
        shop(plane)
        etag = plane.ask("GET", path).headers["etag"]
        with ThreadPoolExecutor(1) as pool:

            async def publish() -> Future[Reply]:
                async with plane.record.change() as tx:
                    await environment_row(tx, EnvironmentId(*WEB, "production"), lock=True)
                    deleting = pool.submit(plane.ask, "DELETE", path, match=etag)
                    await asyncio.sleep(0.5)  # it waits for us
                    await touch(tx, WEB)
                    await note(tx, Actor("test"), "environment.publish", "shop/web/production", {}, tenant="shop")
                return deleting

            reply = plane.run(publish()).result(60)
        assert reply.status == 204, reply.body


def test_a_webhook_keeps_its_secret_to_itself(either: Plane) -> None:
    shop(either)
    body = {"url": "https://ci.example/hook?token=zqx", "events": ["publish", "canary.halt"]}
    new = made(either.ask("POST", "/tenants/shop/webhooks", body))
    path = f"/tenants/shop/webhooks/{new['id']}"
    assert new["secret"].startswith("whsec_") and "secret" not in either.ask("GET", path).json
    replaced = either.ask("PUT", path, {**body, "events": ["approval"]}, match='"1"')
    assert replaced.json["events"] == ["approval"] and either.ask("DELETE", path, match='"1"').status == 412
    trail = either.ask("GET", "/tenants/shop/audit").body
    assert b"webhook.update" in trail and b"zqx" not in trail and new["secret"].encode() not in trail
    assert either.ask("DELETE", path, match='"2"').status == 204 and either.ask("GET", path).status == 404
    for url in ("ftp://ci.example", "https://", "https://me:pw@ci.example", "https://a b", "https://x:99999", "//x"):
        assert either.ask("POST", "/tenants/shop/webhooks", {**body, "url": url}).code == "invalid", url


def test_lists_come_in_pages(either: Plane) -> None:
    for name in ("a", "b", "c"):
        made(either.ask("POST", "/tenants", {"name": name}))
    first = either.ask("GET", "/tenants?limit=2").json
    assert [each["name"] for each in first["items"]] == ["a", "b"] and first["next"] == "b"
    rest = either.ask("GET", "/tenants?limit=2&after=b").json
    assert [each["name"] for each in rest["items"]] == ["c"] and rest["next"] is None
    rows = either.ask("GET", "/audit?after=1&limit=2").json
    assert [each["number"] for each in rows["items"]] == [2, 3] and rows["next"] == "3"
    for query in ("limit=0", "limit=1001", "limit=x", "after=1&after=2", "what=1", "after=%00"):
        assert either.ask("GET", f"/tenants?{query}").code == "bad-request", query


def test_what_was_done_is_in_the_audit_and_the_chain_is_whole(either: Plane) -> None:
    shop(either)
    rows = either.ask("GET", "/tenants/shop/audit").json["items"]
    assert [each["action"] for each in rows] == ["tenant.create", "project.create", "environment.create"]
    assert {each["actor"] for each in rows} == {text_of_keys.selector_of(either.owner)}
    assert [each["previous"] for each in rows[1:]] == [each["hash"] for each in rows[:-1]]
