"""Who gets what: every route with every kind of credential; and what a client key, a log or a metric must never show.

A route that has no row here fails: a new one is to say what each credential gets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from server import keys
from server.evaluations.export import Export
from server.front.admission import Admission
from server.processes.agent import management_plane
from server.processes.worker import data_plane
from server.quotas import Quotas
from server.settings import Settings
from server.shared.page import Page
from server.state.catalog import Catalog
from server.sync.messages import EVENTS as SYNC_EVENTS
from server.sync.messages import PROJECTS, SNAPSHOTS
from server.types import KeyKind
from tests.server.event_source import Event, EventSource
from tests.server.running import BATCH, BULK, ROOT, Reply, Running, running, until

SECRET = "zqx-marker"  # begins everything that a client key, a log or a metric must never show
CONTEXT = "zqx-context"  # and everything of a context
VISIBLE = ("banner", "theme", "limit")

DOCUMENT = f"""
environments: [production, staging]
segments:
  {SECRET}-segment:
    description: {SECRET}-description
    include: [{SECRET}-id]
    when: 'plan == "{SECRET}-operand"'
flags:
  banner:
    type: string
    description: {SECRET}-description
    owner: {SECRET}-owner
    tags: [{SECRET}-tag]
    clientVisible: true
    variants: {{plain: plain, loud: loud}}
    offVariant: plain
    rules:
      - id: {SECRET}-rule
        name: {SECRET}-name
        when: 'segment("{SECRET}-segment") || country == "{SECRET}-country"'
        serve: {{split: [{{variant: loud, weight: 50}}, {{variant: plain, weight: 50}}], salt: {SECRET}-salt}}
    fallthrough: plain
  theme:
    type: string
    clientVisible: true
    variants: {{light: light, dark: dark}}
    rules: [{{when: 'flag("{SECRET}-flag") == "{SECRET}-value"', serve: dark}}]
    fallthrough: light
  limit:
    type: integer
    clientVisible: true
    variants: {{few: 1, many: 2}}
    fallthrough: {{split: [{{variant: few, weight: 50}}, {{variant: many, weight: 50}}], by: {SECRET}.attribute}}
  {SECRET}-flag:
    type: string
    description: {SECRET}-description
    owner: {SECRET}-owner
    tags: [{SECRET}-tag]
    variants: {{"{SECRET}-on": {SECRET}-value, "{SECRET}-off": {SECRET}-other}}
    rules: [{{id: {SECRET}-rule, when: 'plan == "{SECRET}-operand"', serve: "{SECRET}-on"}}]
    fallthrough: "{SECRET}-off"
"""
GATED = f"""
flags:
  gated:
    type: boolean
    clientVisible: true
    variants: {{"yes": true, "no": false}}
    offVariant: "no"
    prerequisites: [{{flag: {SECRET}-flag, variants: ["{SECRET}-on"]}}]
    fallthrough: "yes"
  {SECRET}-flag: {{type: string, variants: {{"{SECRET}-on": a, "{SECRET}-off": b}}, fallthrough: "{SECRET}-off"}}
"""
OTHER = "flags: {other: {type: boolean, clientVisible: true, variants: {yes: true}, fallthrough: yes}}"

ONE = {"context": {"targetingKey": f"{CONTEXT}-key", f"{CONTEXT}-name": f"{CONTEXT}-value", "plan": 3}}
MANY = {"contexts": [ONE["context"]]}


@dataclass(frozen=True)
class Keys:
    """Of acme/app but for the last two; each good for production alone but for `both`."""

    server: str
    client: str
    edge: str
    admin: str
    revoked: str
    expired: str
    both: str
    other: str
    gated: str


def write_keys(path: Path, *rows: tuple[str, str, Mapping[str, str]]) -> None:
    """(key, environments, other members)"""
    lines = ["keys:"]
    for key, environments, more in rows:
        _, kind, selector, _ = key.split("_")
        members = {"selector": selector, "sha256": hashlib.sha256(key.encode()).hexdigest(), "kind": kind}
        members |= {"environments": f"[{environments}]", "created": "2026-01-01T00:00:00Z", **more}
        lines.append("  - {" + ", ".join(f"{name}: {value}" for name, value in members.items()) + "}")
    path.write_text("\n".join(lines))


@pytest.fixture(scope="module")
def credentials() -> Keys:
    kinds = [KeyKind.SERVER, KeyKind.CLIENT, KeyKind.EDGE, KeyKind.ADMIN, *[KeyKind.SERVER] * 4, KeyKind.CLIENT]
    return Keys(*(keys.new_key(kind) for kind in kinds))


@pytest.fixture(scope="module", params=["front", "access-log"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, credentials: Keys
) -> Iterator[Running]:
    tenants = tmp_path_factory.mktemp("isolation") / "tenants"
    for tenant, document in (("acme", DOCUMENT), ("other", OTHER), ("gated", GATED)):
        (tenants / tenant).mkdir(parents=True)
        (tenants / tenant / "app.yaml").write_text(document)
    a = credentials
    write_keys(
        tenants / "acme" / "app.keys.yaml",
        *((each, "production", {}) for each in (a.server, a.client, a.edge, a.admin)),
        (a.revoked, "production", {"revoked": "2026-01-02T00:00:00Z"}),
        (a.expired, "production", {"expires": "2026-01-02T00:00:00Z"}),
        (a.both, "production, staging", {}),
    )
    write_keys(tenants / "other" / "app.keys.yaml", (a.other, "default", {}))
    write_keys(tenants / "gated" / "app.keys.yaml", (a.gated, "default", {}))
    more = ("--access-log",) if request.param == "access-log" else ()
    with running(tenants, "--log-level", "debug", *more) as started:
        until(lambda: started.post(BULK, ONE, key=a.server).status == 200)
        yield started


# The matrix

# What is presented -> the status of a route that evaluates.
EVALUATING: dict[str, int] = {
    "no key": 401,
    "empty": 401,
    "junk": 401,
    "another scheme": 401,
    "a wrong checksum": 401,
    "unknown": 401,
    "the kind of another": 401,
    "revoked": 401,
    "expired": 401,
    "two that differ": 401,
    "edge": 403,
    "admin": 403,
    "another tenant's": 200,  # which sees its own flags: `test_a_tenant_sees_its_own`
    "another tenant's, for this environment": 403,
    "another environment of the project": 403,
    "no environment of the project": 403,
    "for several, none named": 400,
    "for several, one named": 200,
    "client": 200,
    "server": 200,
}
# What edges ask for: another project's is not there.
FOR_EDGES: dict[str, int] = {
    **{each: 403 if status in (200, 400, 403) else status for each, status in EVALUATING.items()},
    "edge": 200,
}
# The management port asks for no key and takes none amiss.
OPEN = dict.fromkeys(EVALUATING, 200)


def headers_of(presented: str, a: Keys) -> dict[str, str]:
    def bearer(key: str, environment: str = "") -> dict[str, str]:
        named = {"Burgee-Environment": environment} if environment else {}
        return {"Authorization": f"Bearer {key}", **named}

    _, _, selector, secret = a.client.split("_")
    return {
        "no key": {},
        "empty": {"Authorization": "Bearer ", "X-API-Key": ""},
        "junk": bearer(f"{SECRET}-junk"),
        "another scheme": {"Authorization": f"Basic {a.server}"},
        "a wrong checksum": bearer(a.server[:-1] + ("a" if a.server[-1] != "a" else "b")),
        "unknown": bearer(keys.new_key(KeyKind.SERVER)),
        "the kind of another": bearer(keys.assemble(KeyKind.SERVER, selector, secret[: keys.SECRET_CHARACTERS])),
        "revoked": bearer(a.revoked),
        "expired": bearer(a.expired),
        "two that differ": {"Authorization": f"Bearer {a.server}", "X-API-Key": a.client},
        "edge": bearer(a.edge),
        "admin": bearer(a.admin),
        "another tenant's": bearer(a.other),
        "another tenant's, for this environment": bearer(a.other, "production"),
        "another environment of the project": bearer(a.server, "staging"),
        "no environment of the project": bearer(a.server, "../app/production"),
        "for several, none named": bearer(a.both),
        "for several, one named": bearer(a.both, "staging"),
        "client": {"X-API-Key": a.client},
        "server": bearer(a.server),
    }[presented]


@dataclass(frozen=True)
class Row:
    path: str
    expected: Mapping[str, int]
    body: Any = None
    management: bool = False
    stream: bool = False  # the answer does not end


EVENTS = "/ofrep/v1/events"

# (method, path of the router) -> what is asked, and what each credential gets
ROWS: dict[tuple[str, str], Row] = {
    ("POST", BATCH): Row(BATCH, EVALUATING, MANY),
    ("POST", BULK): Row(BULK, EVALUATING, ONE),
    ("POST", f"{BULK}/{{key}}"): Row(f"{BULK}/theme", {**EVALUATING, "another tenant's": 404}, ONE),
    ("GET", EVENTS): Row(EVENTS, EVALUATING, stream=True),
    ("GET", PROJECTS): Row(PROJECTS, FOR_EDGES),
    ("GET", f"{PROJECTS}/{{tenant}}/{{project}}"): Row(f"{PROJECTS}/acme/app", FOR_EDGES),
    ("GET", f"{SNAPSHOTS}/{{tenant}}/{{project}}/{{digest}}"): Row(
        f"{SNAPSHOTS}/other/app/{'0' * 64}", {**FOR_EDGES, "edge": 404}
    ),
    ("GET", SYNC_EVENTS): Row(SYNC_EVENTS, FOR_EDGES, stream=True),
    **{
        ("GET", path): Row(path, OPEN, management=True)
        for path in ("/healthz", "/readyz", "/metrics", "/status", "/evaluations")
    },
}


def test_every_route_has_a_row(tmp_path: Path) -> None:
    page, nothing = Page(1), cast(Any, None)
    catalog = Catalog(tmp_path, page, page.block(0), budget=1)
    admission = Admission(page, page.block(0), Quotas(), shed_after=0.0, call_soon=lambda _: None)
    data = data_plane(Settings(tenants=ROOT), catalog, page.block(0), nothing, admission)
    management = management_plane(nothing, nothing, page, nothing, Quotas(), Export(nothing, nothing, nothing))
    routes = {
        (route.method, route.resource.canonical)
        for app in (data, management)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"  # beside each GET
    }
    assert routes == ROWS.keys()


@pytest.mark.parametrize("presented", EVALUATING)
@pytest.mark.parametrize("route", ROWS, ids=" ".join)
def test_what_each_credential_gets(server: Running, credentials: Keys, route: tuple[str, str], presented: str) -> None:
    row = ROWS[route]
    body = None if row.body is None else json.dumps(row.body).encode()
    headers = {"Content-Type": "application/json", **headers_of(presented, credentials)}
    for more in ({}, {"TE": "x"}):  # by the front, and by aiohttp
        if row.management:
            reply = managed(server, row.path, headers | more)
        elif row.stream and row.expected[presented] == 200:
            lines = [f"{name}: {value}" for name, value in (headers | more).items()]
            with EventSource(server.address, row.path, *lines) as stream:
                first = stream.next_event() if row.path == EVENTS else None  # edges are told of changes alone
                reply = Reply(stream.status, stream.headers, (first or Event("", "")).data.encode())
        else:
            reply = server.request(route[0], row.path, body, headers | more)
        assert reply.status == row.expected[presented], reply.body
        if presented == "two that differ" and not row.management:
            assert "two different keys were presented" in reply.json["errorDetails"]
        if row.management:
            assert "aiohttp" not in reply.headers.get("server", "")
        if reply.status >= 400 and not row.management:
            assert SECRET.encode() not in reply.body
            assert "flags" not in reply.json and "results" not in reply.json and "value" not in reply.json
        shown = reply.body + repr(reply.headers).encode()
        assert not any(each.encode() in shown for each in vars(credentials).values())


def managed(server: Running, path: str, headers: Mapping[str, str]) -> Reply:
    return Running(server.management, server.management, server.process, server.log).request("GET", path, None, headers)


def test_a_tenant_sees_its_own(server: Running, credentials: Keys) -> None:
    for headers in ({}, {"TE": "x"}):
        reply = server.post(BULK, ONE, key=credentials.other, headers=headers)
        assert [each["key"] for each in reply.json["flags"]] == ["other"]
        assert SECRET.encode() not in reply.body
        reply = server.post(BATCH, {**MANY, "flags": ["theme", "banner"]}, key=credentials.other, headers=headers)
        assert {each["errorCode"] for each in reply.json["results"][0]["flags"]} == {"FLAG_NOT_FOUND"}


# What must not be seen


def client_replies(server: Running, key: str, more: Mapping[str, str]) -> Iterator[Reply]:
    """All that a client key can get out of the data plane without naming what is hidden."""
    contexts: list[Any] = [
        ONE["context"],
        {},
        {"targetingKey": "u-1", "country": "DE", "plan": "x", "limit": {"attribute": 3}},
        {"targetingKey": 3, "country": [1], "plan": {"a": 1}},
        {"targetingKey": f"{CONTEXT}-id"},
    ]
    for context in contexts:
        yield server.post(BULK, {"context": context}, key=key, headers=more)
        for flag in (*VISIBLE, "nothing"):
            yield server.post(f"{BULK}/{flag}", {"context": context}, key=key, headers=more)
        yield server.post(
            f"{BULK}?explain=true&{CONTEXT}=1", {"context": context, "explain": True}, key=key, headers=more
        )
    for form in ("full", "compact", "wide"):
        for accept in ("application/json", "application/msgpack"):
            body = {"contexts": contexts, "format": form}
            yield server.post(BATCH, body, key=key, headers={**more, "Accept": accept})
    for junk in (b"{", b"[]", b'{"context":3}', b'{"contexts":[3]}', f'{{"context":{{"{CONTEXT}":}}}}'.encode()):
        for path in (BULK, BATCH, f"{BULK}/banner"):
            yield server.post(path, junk, key=key, headers=more)
    tag = server.post(BULK, ONE, key=key).headers["etag"]
    yield server.post(BULK, ONE, key=key, headers={**more, "If-None-Match": tag})
    for method in ("GET", "OPTIONS", "PUT", "HEAD"):
        yield server.request(method, BULK, None, {"X-API-Key": key, **more})
    yield server.post(BULK, ONE, key=key, headers={**more, "Burgee-Environment": "staging"})
    yield server.post(BULK, ONE, key=key, headers={**more, "Content-Encoding": "gzip"})
    yield server.post("/v1/snapshot", ONE, key=key, headers=more)


@pytest.mark.parametrize("more", [{}, {"TE": "x"}], ids=["front", "aiohttp"])
def test_a_client_key_never_sees_what_is_hidden(server: Running, credentials: Keys, more: dict[str, str]) -> None:
    statuses = set()
    for reply in client_replies(server, credentials.client, more):
        statuses.add(reply.status)
        shown = reply.body + repr(reply.headers).encode()
        assert SECRET.encode() not in shown, shown
        assert CONTEXT.encode() not in shown, shown
        assert credentials.client.encode() not in shown
    assert {200, 304, 400, 403, 404, 405, 415} <= statuses
    # and the markers are where a server key sees them, or this would show nothing
    assert SECRET.encode() in server.post(BULK, ONE, key=credentials.server).body


@pytest.mark.parametrize("form", ["full", "compact"])
def test_a_hidden_prerequisite_is_not_named(server: Running, credentials: Keys, form: str) -> None:
    replies = [
        server.post(BULK, ONE, key=credentials.gated),
        server.post(f"{BULK}/gated", ONE, key=credentials.gated),
        server.post(BATCH, {**MANY, "format": form}, key=credentials.gated),
    ]
    assert all(each.status == 200 for each in replies)
    assert not any(SECRET.encode() in each.body for each in replies)


@pytest.mark.parametrize("more", [{}, {"TE": "x"}], ids=["front", "aiohttp"])
def test_what_is_hidden_is_told_apart_by_nothing(server: Running, credentials: Keys, more: dict[str, str]) -> None:
    hidden, absent = f"{SECRET}-flag", "zqx-absent-flag"

    def both(path: str, body: Any, **headers: str) -> list[tuple[int, bytes, dict[str, str]]]:
        found = []
        for flag in (hidden, absent):
            sent = json.loads(json.dumps(body).replace("FLAG", flag))
            reply = server.post(path.replace("FLAG", flag), sent, key=credentials.client, headers={**more, **headers})
            kept = {n: v for n, v in reply.headers.items() if n not in ("date", "burgee-age", "content-length")}
            found.append((reply.status, reply.body.replace(flag.encode(), b""), kept))
        return found

    assert len({repr(each) for each in both(f"{BULK}/FLAG", ONE)}) == 1
    assert len({repr(each) for each in both(BATCH, {**MANY, "flags": ["FLAG", "banner"]})}) == 1
    assert len({repr(each) for each in both(BATCH, {**MANY, "flags": ["FLAG"], "format": "compact"})}) == 1
    replies = [
        server.post(
            BATCH, {**MANY, "flags": [flag]}, key=credentials.client, headers={**more, "Accept": "application/msgpack"}
        )
        for flag in (hidden, absent)
    ]
    decoded = [msgspec.msgpack.decode(each.body)["results"][0]["flags"][0]["errorCode"] for each in replies]
    assert decoded == ["FLAG_NOT_FOUND"] * 2


def test_logs_and_metrics_show_neither_keys_nor_contexts_nor_flags(server: Running, credentials: Keys) -> None:
    for key in (credentials.client, credentials.server, credentials.expired, keys.new_key(KeyKind.CLIENT)):
        for more in ({}, {"TE": "x"}):
            for path, body in ((BULK, ONE), (BATCH, MANY), (f"{BULK}/{SECRET}-flag", ONE), (f"/{CONTEXT}", ONE)):
                server.post(path, body, key=key, headers=more)
    server.raw(f"POST {BULK} HTTP/1.1\r\nHost : x\r\nX-API-Key: {credentials.client}\r\n\r\n".encode())
    log = server.log.read_text()
    metrics = server.manage("/metrics").body.decode() + server.manage("/status").body.decode()
    assert "burgee_http_requests_total" in metrics
    for secret in (SECRET, CONTEXT, *vars(credentials).values(), *(each[-49:] for each in vars(credentials).values())):
        assert secret not in log, secret
        assert secret not in metrics, secret
