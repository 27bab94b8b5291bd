"""Batches over several environments: what each group gives, and that they are read as strictly as any batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.files import write_atomically
from server.types import KeyKind
from tests.server.conftest import add_key
from tests.server.running import BATCH, Reply, Running, running, until

ENVIRONMENTS = ("default", "staging", "other")
DOCUMENT = """
environments: [default, staging, other]
flags:
  a:
    type: string
    clientVisible: true
    variants: {x: "x", y: "y"}
    rules: [{when: 'country == "DE"', serve: y}]
    fallthrough: x
    environments: {staging: {fallthrough: y}}
  timed:
    type: boolean
    variants: {"on": true, "off": false}
    rules: [{when: 'now > timestamp("2000-01-01T00:00:00Z")', serve: "on"}]
    fallthrough: "off"
"""
CONTEXTS = [{"targetingKey": "u-1", "country": "DE"}, {"country": "FR"}, {}]


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tenants = tmp_path_factory.mktemp("groups") / "tenants"
    (tenants / "acme").mkdir(parents=True)
    (tenants / "acme" / "app.yaml").write_text(DOCUMENT)
    return tenants


@pytest.fixture(scope="module")
def key(tenants: Path) -> str:
    return add_key(tenants, *ENVIRONMENTS, "gone")


@pytest.fixture(scope="module")
def client(tenants: Path) -> str:
    return add_key(tenants, *ENVIRONMENTS, kind=KeyKind.CLIENT)


@pytest.fixture(scope="module")
def single(tenants: Path) -> str:
    return add_key(tenants, "default")


@pytest.fixture(scope="module")
def server(tenants: Path, key: str, client: str, single: str) -> Iterator[Running]:
    with running(tenants) as started:
        until(lambda: started.post(BATCH, group(), key=key).status == 200)
        yield started


def group(environment: str = "default", **members: Any) -> dict[str, Any]:
    return {"groups": [{"environment": f"acme/app/{environment}", "contexts": CONTEXTS, **members}]}


def groups(*environments: str, **members: Any) -> dict[str, Any]:
    return {"groups": [each for name in environments for each in group(name)["groups"]], **members}


@pytest.mark.parametrize("form", ["full", "compact"])
@pytest.mark.parametrize("accept", ["application/json", "application/msgpack"])
@pytest.mark.parametrize("kind", ["key", "client", "single"])
def test_each_group_is_the_batch_of_its_environment(
    server: Running, request: pytest.FixtureRequest, form: str, accept: str, kind: str
) -> None:
    key = request.getfixturevalue(kind)
    names = ("default", "default") if kind == "single" else ("staging", "default", "other", "default")
    headers = {"Accept": accept}
    decode = json.loads if accept == "application/json" else msgspec.msgpack.decode
    reply = server.post(BATCH, groups(*names, format=form), key=key, headers=headers)
    assert (reply.status, reply.headers["content-type"]) == (200, accept)
    assert "burgee-version" not in reply.headers
    assert int(reply.headers["burgee-age"]) >= 0
    expected = []
    for name in names:
        alone = server.post(
            BATCH, {"contexts": CONTEXTS, "format": form}, key=key, headers={"Burgee-Environment": name, **headers}
        )
        assert alone.status == 200
        expected.append({"environment": f"acme/app/{name}", **decode(alone.body)})
    found = decode(reply.body)
    assert found == {"groups": expected}
    assert list(found["groups"][0]) == list(expected[0])


def test_named_flags_and_no_groups_at_all(server: Running, key: str) -> None:
    body = group("staging", flags=["a", "nope"])
    [found] = server.post(BATCH, body, key=key).json["groups"]
    assert [[each["key"] for each in row["flags"]] for row in found["results"]] == [["a", "nope"]] * 3
    assert found["results"][1]["flags"][0]["value"] == "y"
    assert server.post(BATCH, {"groups": []}, key=key).json == {"groups": []}
    packed = server.post(BATCH, {"groups": []}, key=key, headers={"Accept": "application/msgpack"})
    assert msgspec.msgpack.decode(packed.body) == {"groups": []}


def test_who_may_ask_for_what(server: Running, key: str, single: str, tenants: Path) -> None:
    def status(body: Any, key: str | None, headers: dict[str, str] | None = None) -> int:
        return server.post(BATCH, body, key=key, headers=headers).status

    assert status(group(), None) == 401
    assert status(groups("default", "staging"), single) == 403
    for name, why in (
        ("gone", "the key's environment does not exist any more"),
        ("nowhere", "the key is not good for that environment"),
    ):
        refused = server.post(BATCH, groups("default", name), key=key)
        assert (refused.status, refused.json) == (403, {"errorDetails": f"groups[1]: {why}"})
    for name in ("other/app/default", "acme/app", "acme/app/default/x", "", "acme//default", "ACME/app/default"):
        body: Any = {"groups": [{"environment": name, "contexts": []}]}
        assert status(body, key) == 403
    assert status(group(), add_key(tenants, kind=KeyKind.EDGE)) in (401, 403)
    for body in (group(), {"contexts": [{}], **group()}):
        for more in ({}, {"TE": "x"}):  # by the front, and by aiohttp
            reply = server.post(BATCH, body, key=key, headers={"Burgee-Environment": "default", **more})
            assert (reply.status, reply.json["errorCode"]) == (400, "INVALID_CONTEXT")
            assert "(hint: leave out `Burgee-Environment`)" in reply.json["errorDetails"]
    assert status({"contexts": [{}]}, key) == 400
    assert status({"contexts": [{"groups": ["admin"]}]}, single) == 200
    assert status(json.dumps(group()).replace("groups", "\\u0067roups").encode(), key) == 200


def test_an_environment_that_is_not_loaded(server: Running, tenants: Path) -> None:
    key = add_key(tenants, "default", "staging", project="later")
    body = {"groups": [{"environment": "acme/later/default", "contexts": [{}]}]}
    until(lambda: server.post(BATCH, body, key=key).status == 503)
    write_atomically(tenants / "acme" / "later.yaml", DOCUMENT.encode())
    until(lambda: server.post(BATCH, body, key=key).status == 200)


def refused(server: Running, body: bytes, key: str) -> tuple[int, str, str]:
    reply: Reply = server.post(BATCH, body, key=key)
    assert reply.headers["content-type"] == "application/json"
    return reply.status, reply.json.get("errorCode", ""), reply.json["errorDetails"]


@pytest.mark.parametrize(
    ("body", "code", "details"),
    [
        ('{"groups": 3}', "INVALID_CONTEXT", "`groups` is not a list"),
        ('{"groups": null}', "INVALID_CONTEXT", "`groups` is not a list"),
        ('{"groups": {}}', "INVALID_CONTEXT", "`groups` is not a list"),
        ('{"groups": [3]}', "INVALID_CONTEXT", "groups[0]: "),
        ('{"groups": [{}]}', "INVALID_CONTEXT", "groups[0]: "),
        ('{"groups": [{"environment": 3, "contexts": []}]}', "INVALID_CONTEXT", "groups[0]: "),
        ('{"groups": [@, {"environment": "acme/app/default"}]}', "INVALID_CONTEXT", "groups[1]: "),
        ('{"groups": [@, {"environment": "acme/app/default", "contexts": [{}, 3]}]}', "INVALID_CONTEXT", "groups[1]: "),
        ('{"groups": [@], "contexts": []}', "INVALID_CONTEXT", "beside `groups`"),
        ('{"groups": [@], "flags": ["a"]}', "INVALID_CONTEXT", "beside `groups`"),
        ('{"groups": [@], "format": "thin"}', "INVALID_CONTEXT", "`format`"),
        ('{"groups": [@], "format": 3}', "INVALID_CONTEXT", "`format`"),
        (
            '{"groups": [{"environment": "acme/app/default", "contexts": [], "format": "full"}]}',
            "INVALID_CONTEXT",
            "groups[0]: `format`",
        ),
        ('{"groups": [@], "groups": [@]}', "PARSE_ERROR", ""),
        ('{"groups": [@], "\\u0067roups": [@]}', "PARSE_ERROR", ""),
        ('{"groups": [@], "format": "full", "format": "full"}', "PARSE_ERROR", ""),
        (
            '{"groups": [{"environment": "acme/app/default", "environment": "acme/app/other", "contexts": []}]}',
            "PARSE_ERROR",
            "groups[0]: ",
        ),
        (
            '{"groups": [{"environment": "acme/app/default", "contexts": [], "contexts": []}]}',
            "PARSE_ERROR",
            "groups[0]: ",
        ),
        (
            '{"groups": [{"environment": "acme/app/default", "contexts": [{"a": 1, "a": 2}]}]}',
            "PARSE_ERROR",
            "groups[0]: ",
        ),
        ('{"groups": [{"environment": "\xff", "contexts": []}]}', "INVALID_CONTEXT", "groups[0]: "),
        ('{"groups": [{"environment\xff": "", "contexts": []}]}', "INVALID_CONTEXT", "groups[0]: "),
        ('{"groups": [@], "\xff": 3}', "PARSE_ERROR", ""),
        ('{"groups": [@]}}', "PARSE_ERROR", ""),
        ('{"groups": [@]} x', "PARSE_ERROR", ""),
        ('{"groups": [@]', "PARSE_ERROR", ""),
        ('{"groups": [@,]}', "PARSE_ERROR", ""),
        ('{"groups": [@], "x": 01}', "PARSE_ERROR", ""),
        ('{"groups": [@], "x": "\xff"}', "PARSE_ERROR", ""),
        (
            '{"groups": [{"environment": "acme/app/default", "contexts": [{"x": "\xff"}]}]}',
            "PARSE_ERROR",
            "groups[0]: ",
        ),
        ('\ufeff{"groups": [@]}', "PARSE_ERROR", ""),
        ('{"groups": [@], "x": NaN}', "PARSE_ERROR", ""),
        ('{"groups": [@], "x": "\\ud800"}', "PARSE_ERROR", ""),
    ],
)
def test_hostile_bodies(server: Running, key: str, body: str, code: str, details: str) -> None:
    one = '{"environment": "acme/app/default", "contexts": [{}]}'
    encoded = body.replace("@", one).encode().replace("\xff".encode(), b"\xff")
    status, found, said = refused(server, encoded, key)
    assert (status, found) == (400, code), said
    assert said.startswith(details)


@pytest.mark.parametrize(
    "more",
    [
        ('"x": 3,', ""),
        ("", ', "x": {"groups": [{"environment": "acme/app/default", "contexts": [{}]}]}'),
        ('"x": [{"environment": "acme/app/default", "contexts": [{}]}],', ""),
        ('"\\u0066ormat": "full",', ""),
        (" \t\r\n", " \n"),
    ],
)
def test_what_a_batch_passes_over(server: Running, key: str, more: tuple[str, str]) -> None:
    plain = server.post(BATCH, b'{"groups": [{"environment": "acme/app/default", "contexts": [{}]}]}', key=key)
    body = f'{{{more[0]}"groups": [{{"environment": "acme/app/default", "contexts": [{{}}]}}]{more[1]}}}'
    reply = server.post(BATCH, body.encode(), key=key)
    assert (reply.status, reply.body) == (200, plain.body)


def test_the_same_hostile_values_are_refused_as_in_a_batch(server: Running, key: str) -> None:
    """Around the groups and in them, with the same code as where they stand in a plain batch."""
    values = [
        '"\\x"',
        '"\t"',
        "1e",
        "-",
        ".5",
        "tru",
        "[1",
        '{"a"}',
        "'a'",
        '"\\ud800\\ud800"',
        "[" * 1000 + "]" * 1000,
    ]
    values += ["1" * 400, "1e999", "[" * 20 + "]" * 20, '"' + "a" * 5000 + '"']
    headers = {"Burgee-Environment": "default"}
    for value in values:
        plain = server.post(BATCH, f'{{"contexts": [], "x": {value}}}'.encode(), key=key, headers=headers)
        around = server.post(BATCH, f'{{"groups": [], "x": {value}}}'.encode(), key=key)
        assert (value[:9], around.status) == (value[:9], plain.status)
        inside = f'{{"groups": [{{"environment": "acme/app/default", "contexts": [], "x": {value}}}]}}'
        assert (value[:9], server.post(BATCH, inside.encode(), key=key).status) == (value[:9], plain.status)
        if plain.status == 400:
            assert around.json["errorCode"] == plain.json["errorCode"] == "PARSE_ERROR"


def test_limits(server: Running, key: str) -> None:
    one = {"environment": "acme/app/default", "contexts": []}
    assert server.post(BATCH, {"groups": [one] * 1000}, key=key).status == 200
    status, code, details = refused(server, json.dumps({"groups": [one] * 1001}).encode(), key)
    assert (status, code, details) == (400, "INVALID_CONTEXT", "more than 1000 groups")
    wide = {**one, "contexts": [{}] * 1000, "flags": ["a"] * 1000}
    body = json.dumps({"groups": [wide] * 3, "format": "compact"}).encode()
    status, code, details = refused(server, body, key)
    assert (status, code, details) == (400, "INVALID_CONTEXT", "more than 2000000 evaluations")
    large = {**one, "contexts": [{}] * 1000, "flags": ["a"] * 150}
    status, code, details = refused(server, json.dumps({"groups": [large] * 4}).encode(), key)
    assert (status, code) == (400, "INVALID_CONTEXT")
    assert details.startswith("the reply")


def test_one_version_and_one_time_for_each_group_while_it_changes(server: Running, tenants: Path, key: str) -> None:
    names = ("default",) * 8
    for change in range(20):
        write_atomically(tenants / "acme" / "app.yaml", f"{DOCUMENT}# {change}\n".encode())
        found = server.post(BATCH, groups(*names), key=key).json["groups"]
        assert len({each["metadata"]["version"] for each in found}) == 1
