"""Cross-origin requests as browsers send them: a preflight, then the request with its Origin. By both paths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from server.cli import main
from server.sources import key_file
from server.sources.key_file import KeyFileError
from server.types import KeyKind, ProjectId
from tests.server.conftest import add_key
from tests.server.event_source import EventSource
from tests.server.running import BATCH, BULK, Reply, Running, running, until
from tests.server.test_events import document

SHOP = "https://shop.example"
ADMIN = "http://localhost:3000"
STRANGER = "https://evil.example"
CONTEXT = {"context": {"targetingKey": "u-1"}}
ORIGINS = {"default": (SHOP, ADMIN), "open": ("*",), "staging": (ADMIN,)}
PATHS = (BULK, f"{BULK}/f", BATCH, "/ofrep/v1/events")
BODIES: dict[str, Any] = {BULK: CONTEXT, f"{BULK}/f": CONTEXT, BATCH: {"contexts": [{}]}}


class Keys:
    def __init__(self, tenants: Path) -> None:
        self.server = add_key(tenants)
        self.client = add_key(tenants, kind=KeyKind.CLIENT)
        self.open = add_key(tenants, "open", kind=KeyKind.CLIENT)
        self.shut = add_key(tenants, "shut", kind=KeyKind.CLIENT)
        self.several = add_key(tenants, "default", "staging", kind=KeyKind.CLIENT)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Keys]]:
    tenants = tmp_path_factory.mktemp("cors") / "tenants"
    (tenants / "acme").mkdir(parents=True)
    (tenants / "acme" / "app.yaml").write_bytes(document("one", "[default, open, shut, staging]"))
    keys = Keys(tenants)
    allow(tenants, ORIGINS)
    with running(tenants) as server:
        until(lambda: server.post(BULK, CONTEXT, key=keys.client).status == 200)
        yield server, keys


def allow(tenants: Path, origins: dict[str, tuple[str, ...]]) -> None:
    path = key_file.path_of(tenants, ProjectId("acme", "app"))
    key_file.write(path, msgspec.structs.replace(key_file.parse(path.read_bytes()), origins=origins))


def preflight(server: Running, path: str, origin: str) -> Reply:
    return server.request(
        "OPTIONS",
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )


def may_read(reply: Reply, origin: str) -> bool:
    """As a browser decides; and whatever it decides, no cache and no cookie is let in."""
    assert "access-control-allow-credentials" not in reply.headers
    allowed = reply.headers.get("access-control-allow-origin")
    assert allowed in (None, origin)
    if allowed:
        assert "Origin" in reply.headers["vary"].split(", ")
        exposed = reply.headers.get("access-control-expose-headers", "").split(", ")
        assert set(exposed) == {"ETag", "Retry-After", "Burgee-Version", "Burgee-Age"}
    return allowed is not None


@pytest.mark.parametrize("path", PATHS)
def test_preflights(served: tuple[Running, Keys], path: str) -> None:
    server, _ = served
    for origin in (SHOP, ADMIN, STRANGER, "null"):  # one environment allows all
        reply = preflight(server, path, origin)
        assert (reply.status, reply.body, reply.headers["access-control-allow-origin"]) == (204, b"", origin)
        assert reply.headers["access-control-max-age"] == "600"
        assert reply.headers["vary"] == "Origin"
        assert set(reply.headers["access-control-allow-methods"].split(", ")) == {"GET", "POST"}
        names = set(reply.headers["access-control-allow-headers"].split(", "))
        assert names >= {"authorization", "x-api-key", "content-type", "if-none-match", "burgee-environment"}
        assert "access-control-allow-credentials" not in reply.headers
    assert server.request("OPTIONS", path).status == 405
    assert server.request("OPTIONS", path, headers={"Origin": SHOP}).status == 405  # not a preflight
    assert preflight(server, "/nowhere", SHOP).status == 404


@pytest.mark.parametrize("path", [BULK, f"{BULK}/f", BATCH])
@pytest.mark.parametrize("other", [{}, {"TE": "x"}], ids=["front", "aiohttp"])
def test_requests(served: tuple[Running, Keys], path: str, other: dict[str, str]) -> None:
    server, keys = served

    def ask(key: str, origin: str, more: dict[str, str] | None = None, body: Any = BODIES[path]) -> Reply:
        return server.post(path, body, key=key, headers={"Origin": origin, **other, **(more or {})})

    for key, origin, status in (
        (keys.client, SHOP, 200),
        (keys.client, ADMIN, 200),
        (keys.client, STRANGER, 403),
        (keys.client, f"{SHOP}:8443", 403),
        (keys.client, SHOP.upper(), 403),
        (keys.client, "null", 403),
        (keys.open, STRANGER, 200),
        (keys.shut, SHOP, 403),
    ):
        reply = ask(key, origin)
        assert (origin, reply.status) == (origin, status)
        assert may_read(reply, origin) == (status == 200)
        assert b"value" not in reply.body or status == 200
    reply = ask(keys.server, SHOP)
    assert (reply.status, may_read(reply, SHOP)) == (200, False)
    for named, origin, status in (("default", SHOP, 200), ("staging", SHOP, 403), ("staging", ADMIN, 200)):
        assert ask(keys.several, origin, {"Burgee-Environment": named}).status == status
    refused = ask(keys.client, SHOP, body=b"{")
    assert (refused.status, may_read(refused, SHOP)) == (400, True)
    unknown = ask(keys.client[:-1] + "0", SHOP)
    assert (unknown.status, may_read(unknown, SHOP)) == (401, True)
    assert ask(keys.client, SHOP, {"Accept": "application/msgpack"}).headers["vary"] == (
        "Accept, Origin" if path == BATCH else "Origin"
    )


def test_304_and_the_same_headers_from_both(served: tuple[Running, Keys]) -> None:
    server, keys = served
    replies = []
    for other in ({}, {"TE": "x"}):
        found = server.post(BULK, CONTEXT, key=keys.client, headers={"Origin": SHOP, **other})
        known = {"If-None-Match": found.headers["etag"], "Origin": SHOP, **other}
        unchanged = server.post(BULK, CONTEXT, key=keys.client, headers=known)
        assert (unchanged.status, may_read(unchanged, SHOP)) == (304, True)
        replies += [found, unchanged]
    passing = {"date", "server", "burgee-age", "content-length"}
    front, front_304, plain, plain_304 = (
        {k: v for k, v in each.headers.items() if k not in passing} for each in replies
    )
    assert (front, front_304) == (plain, plain_304)
    assert replies[0].body == replies[2].body


def test_streams(served: tuple[Running, Keys]) -> None:
    server, keys = served
    uri = server.post(BULK, CONTEXT, key=keys.client).json["eventStreams"][0]["endpoint"]["requestUri"]
    for origin, status in ((SHOP, 200), (STRANGER, 403)):
        with EventSource(server.address, uri, f"Origin: {origin}") as stream:
            assert stream.status == status
            assert stream.headers.get("access-control-allow-origin") == (SHOP if status == 200 else None)


def test_a_stream_ends_when_its_origin_is_allowed_no_more(tenants: Path) -> None:
    (tenants / "acme" / "app.yaml").write_bytes(document("one"))
    key = add_key(tenants, kind=KeyKind.CLIENT)
    allow(tenants, {"default": (SHOP,)})
    with running(tenants) as server:
        uri = until(
            lambda: (server.post(BULK, CONTEXT, key=key, headers={"Origin": SHOP}).json.get("eventStreams") or [None])[
                0
            ]
        )["endpoint"]["requestUri"]
        seen = "Last-Event-ID: " + server.post(BULK, CONTEXT, key=key).headers["burgee-version"]
        with (
            EventSource(server.address, uri, f"Origin: {SHOP}", seen) as page,
            EventSource(server.address, uri, seen) as app,
        ):
            assert (page.status, app.status) == (200, 200)
            allow(tenants, {"default": ("https://other.example",)})
            assert page.next_event() is None
            assert page.ended
            assert app.is_quiet()


def test_refusals_are_counted(served: tuple[Running, Keys]) -> None:
    server, keys = served

    def count() -> float:
        lines = server.manage("/metrics").body.decode().splitlines()
        return sum(float(each.split()[-1]) for each in lines if 'why="origin"' in each)

    before = count()
    server.post(BULK, CONTEXT, key=keys.shut, headers={"Origin": SHOP})
    assert count() == before + 1


def test_origins_change_like_keys(tenants: Path) -> None:
    (tenants / "acme" / "app.yaml").write_bytes(document("one"))
    key = add_key(tenants, kind=KeyKind.CLIENT)
    with running(tenants) as server:
        until(lambda: server.post(BULK, CONTEXT, key=key).status == 200)

        def ask() -> tuple[int, int]:
            headers = {"Origin": SHOP}
            return server.post(BULK, CONTEXT, key=key, headers=headers).status, preflight(server, BULK, SHOP).status

        assert ask() == (403, 403)
        allow(tenants, {"default": (SHOP,)})
        until(lambda: ask() == (200, 204))
        arguments = ["keys", "new", "--tenants", str(tenants), "--tenant", "acme", "--project", "app"]
        made = CliRunner().invoke(main, [*arguments, "-e", "default", "--kind", "client"], catch_exceptions=False)
        assert made.exit_code == 0
        new = made.stdout.strip().splitlines()[-1]
        revoke = ["keys", "revoke", *arguments[2:], key.split("_")[2]]
        assert CliRunner().invoke(main, revoke, catch_exceptions=False).exit_code == 0
        until(lambda: server.post(BULK, CONTEXT, key=new, headers={"Origin": SHOP}).status == 200)
        until(lambda: ask() == (401, 204))
        allow(tenants, {})
        until(lambda: ask() == (401, 403))


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example",
        "http://localhost:3000",
        "*",
        "capacitor://localhost",
        "https://[::1]:8443",
        "http://a:443",
    ],
)
def test_origins_that_may_be_listed(origin: str) -> None:
    file = key_file.parse(f"keys: []\norigins: {{production: ['{origin}']}}".encode())
    assert key_file.parse(key_file.render(file)).origins == {"production": (origin,)}


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example/",
        "https://shop.example/app",
        "https://Shop.example",
        "shop.example",
        "https://shop.example:443",
        "http://shop.example:80",
        "https://*.example",
        "https://shop.example:0",
        "https://user@shop.example",
        "null",
        "",
        "https://shöp.example",
    ],
)
def test_origins_that_may_not(origin: str) -> None:
    with pytest.raises(KeyFileError, match=r"^origins\.production\[1\]: ") as error:
        key_file.parse(f"keys: []\norigins: {{production: ['*', '{origin}']}}".encode())
    assert len(origin) < 5 or origin not in str(error.value)


def test_origins_of_another_shape() -> None:
    for text in ("origins: [a]", "origins: {production: '*'}", "origins: {'no name': ['*']}", "origin: {}"):
        with pytest.raises(KeyFileError):
            key_file.parse(f"keys: []\n{text}".encode())
