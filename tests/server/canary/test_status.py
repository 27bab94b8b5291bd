"""Which host has what, as the admin API says it, and publishing that waits for all of them."""

from __future__ import annotations

import pytest

from server.record.canaries import Plan
from tests.server.canary.serving import Server
from tests.server.running import until

ENVIRONMENT = "/tenants/acme/projects/app/environments/default"
FLAG = {"type": "string", "variants": {"a": "two", "b": "other"}, "fallthrough": "a"}


@pytest.fixture(scope="module")
def owner(running_server: Server) -> str:
    return running_server.admin_key()


def test_publish_waits_until_every_worker_has_it(server: Server, owner: str) -> None:
    until(lambda: server.api("GET", "/hosts", owner).json["items"])
    for word in ("two", "three", "four"):
        flag = f"/tenants/acme/projects/app/flags/f{word}"
        made = server.api("PUT", flag, owner, FLAG)
        assert made.status in (200, 201), made.body
        newest = server.api("GET", "/status", owner).json["items"][0]["version"]
        done = server.api("POST", f"{ENVIRONMENT}/publish?wait=30", owner, {}, If_Match=f'"{newest}"')
        assert done.status == 200, done.body
        waited = done.json["waited"]
        assert waited["done"] and waited["silent"] == []
        assert [host["done"] for host in waited["hosts"]] == [True]
        assert {server.ask()[0] for _ in range(20)} == {str(newest + 1)}  # whichever worker answers


def test_an_answer_that_is_given_again_waits_again(server: Server, owner: str) -> None:
    """Whose answer was lost wants to know as much as who got it."""
    until(lambda: server.api("GET", "/hosts", owner).json["items"])
    newest = server.api("GET", "/status", owner).json["items"][0]["version"]
    once = {"If_Match": f'"{newest}"', "Idempotency_Key": "waits-again"}
    first, again = (server.api("POST", f"{ENVIRONMENT}/publish?wait=30", owner, {}, **once) for _ in range(2))
    assert (first.status, again.status) == (200, 200), again.body
    assert again.headers["idempotency-replayed"] == "true"
    assert first.json["version"] == again.json["version"] == newest + 1
    assert again.json["waited"]["done"] and again.json["waited"]["hosts"]


def test_not_longer_than_it_says(server: Server, owner: str) -> None:
    hold = server.state / "hold"
    hold.touch()
    try:
        until(lambda: server.api("GET", "/hosts", owner).json["items"][0]["held"])
        assert server.running.manage("/status").json["held"]
        newest = server.api("GET", "/status", owner).json["items"][0]["version"]
        done = server.api("POST", f"{ENVIRONMENT}/publish?wait=0.2", owner, {}, If_Match=f'"{newest}"')
        assert done.status == 200 and not done.json["waited"]["done"]
        (host,) = done.json["waited"]["hosts"]
        assert host["held"] and not host["done"]
    finally:
        hold.unlink()
    until(lambda: not server.api("GET", "/status", owner).json["items"][0]["missing"])


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "NaN"])
def test_no_other_waits(server: Server, owner: str, wait: str) -> None:
    done = server.api("POST", f"{ENVIRONMENT}/publish?wait={wait}", owner, {}, If_Match='"1"')
    assert done.status == 400


def test_the_status_of_a_canary(server: Server, owner: str) -> None:
    number = server.publish("five", Plan(0.5, 600.0))
    canary = until(
        lambda: (
            (server.api("GET", "/status", owner).json["items"][0]["canary"] or {}).get("hosts")
            and server.api("GET", "/status", owner).json["items"][0]["canary"]
        )
    )
    assert canary["version"] == number and canary["share"] == 0.5
    (said,) = canary["hosts"].values()
    assert said["version"] == number and "complaint" not in said
    (host,) = server.api("GET", "/hosts", owner).json["items"]
    assert (host["workers"], host["source"], host["silent"], host["projects"]) == (2, "control", False, 1)


def test_others_see_their_own(server: Server, owner: str) -> None:
    stranger = server.admin_key("viewer", tenant="bank")
    assert server.api("GET", "/status", stranger).json["items"] == []
    hosts = server.api("GET", "/hosts", stranger).json["items"]
    assert [(host["projects"], host["behind"], host["canaries"]) for host in hosts] == [(0, {}, {})]
    mine = server.admin_key("viewer", tenant="acme")
    assert [each["environment"] for each in server.api("GET", "/status", mine).json["items"]] == ["acme/app/default"]
    assert server.api("GET", "/status?after=acme/app/default", mine).json == {
        "items": [],
        "next": None,
        "paused": False,
    }
