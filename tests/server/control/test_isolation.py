"""Who gets what: every route of the admin API with every kind of credential, to the status.

The rows are the table of routes itself; a route that has no row in NEEDS fails: a new one is to say whom it is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from server import keys as text_of_keys
from server.control.api.frame import Route
from server.control.app import ROUTES
from server.control.roles import Role
from server.record.database import Transaction
from server.record.keys import key_row, revoke_key
from server.types import KeyKind
from tests.server.control.running import BY, Plane, Reply, running

# The least role for each route, and how far a key must reach: the instance, the tenant or the project of the path;
# `part`: it is enough that the key reaches some of it.
NEEDS: Mapping[str, tuple[str, str]] = {
    "tenants_list": ("viewer", "part"),
    "tenant_create": ("owner", "instance"),
    "tenant_get": ("viewer", "tenant"),
    "tenant_change": ("owner", "tenant"),
    "tenant_delete": ("owner", "tenant"),
    "projects_list": ("viewer", "part"),
    "project_create": ("owner", "tenant"),
    "project_get": ("viewer", "project"),
    "project_change": ("owner", "project"),
    "project_delete": ("owner", "project"),
    "environments_list": ("viewer", "project"),
    "environment_create": ("admin", "project"),
    "environment_get": ("viewer", "project"),
    "environment_change": ("admin", "project"),
    "environment_delete": ("admin", "project"),
    "flags_list": ("viewer", "project"),
    "flag_get": ("viewer", "project"),
    "flag_put": ("editor", "project"),
    "flag_delete": ("editor", "project"),
    "segments_list": ("viewer", "project"),
    "segment_get": ("viewer", "project"),
    "segment_put": ("editor", "project"),
    "segment_delete": ("editor", "project"),
    "document_get": ("viewer", "project"),
    "document_put": ("editor", "project"),
    "environment_publish": ("editor", "project"),
    "environment_rollback": ("editor", "project"),
    "environment_promote": ("editor", "project"),
    "flag_kill": ("editor", "project"),
    "drafts_list": ("viewer", "project"),
    "draft_create": ("editor", "project"),
    "draft_get": ("viewer", "project"),
    "draft_withdraw": ("editor", "project"),
    "draft_approve": ("editor", "project"),
    "draft_schedule": ("editor", "project"),
    "draft_unschedule": ("editor", "project"),
    "draft_publish": ("editor", "project"),
    "versions_list": ("viewer", "project"),
    "version_get": ("viewer", "project"),
    "version_document": ("viewer", "project"),
    "versions_diff": ("viewer", "project"),
    "version_evaluate": ("viewer", "project"),
    "version_explain": ("viewer", "project"),
    "flags_stale": ("viewer", "project"),
    "instance_pause": ("admin", "instance"),
    "instance_resume": ("admin", "instance"),
    "tenant_pause": ("admin", "tenant"),
    "tenant_resume": ("admin", "tenant"),
    "project_pause": ("admin", "project"),
    "project_resume": ("admin", "project"),
    "environment_pause": ("admin", "project"),
    "environment_resume": ("admin", "project"),
    "environment_pin": ("admin", "project"),
    "environment_unpin": ("admin", "project"),
    "instance_keys_list": ("viewer", "instance"),
    "instance_key_create": ("admin", "instance"),
    "instance_key_get": ("viewer", "instance"),
    "instance_key_change": ("admin", "instance"),
    "instance_key_revoke": ("admin", "instance"),
    "keys_list": ("viewer", "part"),
    "key_create": ("admin", "part"),
    "key_get": ("viewer", "part"),
    "key_change": ("admin", "part"),
    "key_revoke": ("admin", "part"),
    "webhooks_list": ("admin", "tenant"),
    "webhook_create": ("admin", "tenant"),
    "webhook_get": ("admin", "tenant"),
    "webhook_replace": ("admin", "tenant"),
    "webhook_delete": ("admin", "tenant"),
    "instance_audit": ("viewer", "instance"),
    "audit": ("viewer", "tenant"),
    "hosts_list": ("viewer", "part"),
    "status": ("viewer", "part"),
}
RANKS = [str(each) for each in Role]
NOWHERE: Mapping[str, str] = {  # values for a path that nothing has
    "tenant": "nobody",
    "project": "nothing",
    "environment": "nowhere",
    "key": "none",
    "selector": "0123456789ABCDEF",
    "id": "0000",
    "version": "7",
}
MINE: Mapping[str, str] = {**NOWHERE, "tenant": "shop", "project": "web", "environment": "production"}


@dataclass(frozen=True)
class Credentials:
    plane: Plane
    keys: Mapping[str, str]
    before: Mapping[str, Any]


def _revoked(plane: Plane) -> str:
    key = plane.new_key(role="owner")

    async def revoke(tx: Transaction) -> None:
        row = await key_row(tx, text_of_keys.selector_of(key) or "")
        assert row is not None
        await revoke_key(tx, row, by=BY)

    plane.change(revoke)
    return key


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Credentials]:
    with running(f"sqlite:///{tmp_path_factory.mktemp('record') / 'record.db'}") as plane:
        for tenant in ("shop", "bank"):
            assert plane.ask("POST", "/tenants", {"name": tenant}).status == 201
            for project in ("web", "api"):
                assert plane.ask("POST", f"/tenants/{tenant}/projects", {"name": project}).status == 201
                path = f"/tenants/{tenant}/projects/{project}/environments"
                assert plane.ask("POST", path, {"name": "production"}).status == 201
        scopes: dict[str, dict[str, Any]] = {
            "instance": {},
            "tenant": {"tenant": "shop"},
            "project": {"tenant": "shop", "project": "web"},
        }
        scopes |= {"other tenant": {"tenant": "bank"}, "other project": {"tenant": "shop", "project": "api"}}
        found = {f"{scope} {role}": plane.new_key(role=role, **at) for scope, at in scopes.items() for role in RANKS}
        found |= {
            "none": "",
            "junk": "junk",
            "bad checksum": plane.owner[:-1] + ("a" if plane.owner[-1] != "a" else "b"),
            "unknown": text_of_keys.new_key(KeyKind.ADMIN),
            "revoked": _revoked(plane),
            "expired": plane.new_key(role="owner", expires_at=1.0),
            "server": plane.new_key(KeyKind.SERVER, tenant="shop", project="web"),
            "client": plane.new_key(KeyKind.CLIENT, tenant="shop", project="web"),
            "edge": plane.new_key(KeyKind.EDGE),
        }
        yield Credentials(plane, found, _state(plane))


def _state(plane: Plane) -> Mapping[str, Any]:
    paths = ("/tenants", "/keys", "/tenants/shop/keys", "/tenants/shop/projects", "/tenants/shop/audit", "/audit")
    return {each: plane.ask("GET", f"{each}?limit=1000").json for each in paths}


def _ask(plane: Plane, route: Route, key: str, names: Mapping[str, str]) -> Reply:
    """A request that changes nothing whoever asks: its body is no body of the route's, its `If-Match` of nothing."""
    body = {"zqx": 1} if route.body is not None else None
    return plane.ask(route.method, route.path.format(**names), body, key=key, match='"999999"')


def _refusal(route: Route, who: str) -> int | None:
    """The status that the documentation promises; None: it is let in."""
    scope, _, role = who.rpartition(" ")
    if not scope or who == "bad checksum":
        return 403 if who in ("server", "client", "edge") else 401
    needed, level = NEEDS[route.name]
    in_tenant, in_project = "{tenant}" in route.path, "{project}" in route.path
    if scope == "other tenant" and in_tenant:
        return 404
    if scope == "other project" and in_project:
        return 404
    order = ["instance", "tenant", "project"]
    if level != "part" and order.index(scope.rpartition(" ")[2]) > order.index(level):
        return 403
    return None if RANKS.index(role) >= RANKS.index(needed) else 403


def test_every_route_says_whom_it_is_for() -> None:
    assert [each.name for each in ROUTES] == list(dict.fromkeys(each.name for each in ROUTES))
    assert {each.name for each in ROUTES} == set(NEEDS), "a route without a row, or a row without a route"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_each_credential_gets_what_it_should(credentials: Credentials, route: Route) -> None:
    for who, key in credentials.keys.items():
        reply = _ask(credentials.plane, route, key, MINE)
        expected = _refusal(route, who)
        if expected is not None:
            assert reply.status == expected, (who, reply.body)
            assert reply.code in ("unauthorized", "forbidden", "not-found")
        elif route.body is not None:
            assert reply.status == 422, (who, reply.body)  # let in; the body is refused
        else:
            assert reply.status in (200, 204, 404, 412), (who, reply.body)
    assert credentials.before == _state(credentials.plane), "a request that was to change nothing did"


@pytest.mark.parametrize("route", [each for each in ROUTES if "{tenant}" in each.path], ids=lambda route: route.name)
def test_what_is_somebody_elses_is_as_if_it_were_not_there(credentials: Credentials, route: Route) -> None:
    key = credentials.keys["other tenant owner"]
    foreign = _ask(credentials.plane, route, key, MINE)
    absent = _ask(credentials.plane, route, key, NOWHERE)
    assert (foreign.status, foreign.body) == (absent.status, absent.body) and foreign.status == 404


def test_a_list_has_only_what_the_key_reaches(credentials: Credentials) -> None:
    plane = credentials.plane

    def names(path: str, who: str, member: str = "name") -> list[str]:
        return [each[member] for each in plane.ask("GET", path, key=credentials.keys[who]).json["items"]]

    assert names("/tenants", "tenant viewer") == ["shop"] == names("/tenants", "project viewer")
    assert names("/tenants", "instance viewer") == ["bank", "shop"]
    assert names("/tenants/shop/projects", "project viewer") == ["web"]
    assert names("/tenants/shop/projects", "tenant viewer") == ["api", "web"]
    assert set(names("/tenants/shop/keys", "project viewer", "project")) == {"web"}
    assert set(names("/tenants/shop/keys", "tenant viewer", "project")) == {"", "web", "api"}
    assert set(names("/keys", "instance viewer", "tenant")) == {""}


def test_a_key_of_another_is_not_found_by_its_selector(credentials: Credentials) -> None:
    plane, found = credentials.plane, credentials.keys
    owner_of_shop = text_of_keys.selector_of(found["tenant owner"])
    for path in ("/keys", "/tenants/bank/keys", "/tenants/shop/keys"):
        for who in ("other tenant owner", "other project owner", "project owner"):
            for method, rest in (("GET", ""), ("POST", "/revoke")):
                reply = plane.ask(method, f"{path}/{owner_of_shop}{rest}", key=found[who])
                assert reply.status in (403, 404), (path, who)
    assert plane.ask("GET", f"/tenants/shop/keys/{owner_of_shop}", key=found["tenant viewer"]).status == 200
    assert plane.ask("GET", f"/keys/{owner_of_shop}", key=plane.owner).status == 404


@pytest.mark.parametrize(
    ("who", "path", "body", "status"),
    [
        ("tenant admin", "/tenants/shop/keys", {"kind": "admin", "role": "viewer"}, 403),
        ("project owner", "/tenants/shop/keys", {"kind": "admin", "role": "viewer"}, 403),
        ("project admin", "/tenants/shop/keys", {"kind": "edge"}, 403),
        ("project admin", "/tenants/shop/keys", {"kind": "server", "project": "api"}, 403),
        ("project admin", "/tenants/shop/keys", {"kind": "server", "project": "web"}, 201),
        ("project owner", "/tenants/shop/keys", {"kind": "admin", "role": "owner", "project": "web"}, 201),
        ("instance admin", "/keys", {"kind": "admin", "role": "viewer"}, 403),
        ("instance admin", "/keys", {"kind": "edge"}, 201),
        ("tenant owner", "/keys", {"kind": "edge"}, 403),
    ],
)
def test_nobody_gives_more_than_they_have(tmp_path: Any, who: str, path: str, body: Any, status: int) -> None:
    with running(f"sqlite:///{tmp_path / 'record.db'}") as plane:
        plane.ask("POST", "/tenants", {"name": "shop"})
        for project in ("web", "api"):
            plane.ask("POST", "/tenants/shop/projects", {"name": project})
        scope, role = who.split()
        below = {"instance": (), "tenant": ("shop",), "project": ("shop", "web")}[scope]
        at: dict[str, Any] = dict(zip(("tenant", "project"), below, strict=False))
        assert plane.ask("POST", path, body, key=plane.new_key(role=role, **at)).status == status


def test_quotas_are_not_the_tenants_own_to_set(credentials: Credentials) -> None:
    body = {"quotas": {"streams": 9}}
    key = credentials.keys["tenant owner"]
    assert credentials.plane.ask("PATCH", "/tenants/shop", body, key=key, match="*").status == 403


def test_a_route_without_a_need_opens_to_nobody(credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> None:
    from server.control import app

    bare = replace(ROUTES[0], need=None, path="/bare", name="bare")
    monkeypatch.setattr(app, "ROUTES", (bare,))
    url = str(credentials.plane.record.engine.url.set(drivername="sqlite"))
    with running(url) as plane:
        assert plane.ask("GET", "/bare").status == 403
        assert plane.ask("GET", "/bare", key="").status == 401
