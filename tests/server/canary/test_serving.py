"""Canaries on a real server under traffic: a bad one is halted by itself, a good one is promoted, nobody goes back."""

from __future__ import annotations

from server.record.canaries import Plan
from tests.server.canary.serving import APP, Server
from tests.server.running import until

LONG = 600.0  # seconds: longer than any test


def nobody_failed(server: Server) -> bool:
    return {status for _, _, status in server.seen} == {200}


def all_have(server: Server, version: int) -> bool:
    return [seen for seen, _, _ in server.seen[-40:]] == [str(version)] * 40


def test_one_that_gives_the_code_default_is_halted(server: Server) -> None:
    live = server.row()["version"]
    with server.traffic():
        canary = server.publish(None, Plan(share=0.5, seconds=LONG))
        assert canary == live + 1
        until(lambda: str(canary) in server.versions())
        row = server.row()  # while it runs: one worker each
        assert sorted(row["workers"].values()) == [live, canary] and row["canary"]["version"] == canary
        until(lambda: all_have(server, canary + 1))
    assert nobody_failed(server)
    seen = {(version, word) for version, word, _ in server.seen}
    assert seen == {(str(live), "one"), (str(canary), None), (str(canary + 1), "one")}
    assert server.actions()[-2:] == [("canary", "environment.rollback"), ("canary", "canary.halt")]
    assert "code default and errors: 100.0%" in server.messages()[-1]
    assert "canary" not in server.row() and "workers" not in server.row()


def test_one_without_complaint_is_promoted(server: Server) -> None:
    live = server.row()["version"]
    with server.traffic():
        canary = server.publish("two", Plan(share=0.5, seconds=4.0))
        until(lambda: {str(live), str(canary)} <= {version for version, _, _ in server.seen[-20:]})
        until(lambda: all_have(server, canary))
    assert nobody_failed(server) and server.row()["version"] == canary
    assert server.actions()[-1] == ("canary", "canary.promote")


def test_one_that_cannot_be_mapped_is_halted(server: Server) -> None:
    canary = server.publish("two", Plan(share=0.5, seconds=LONG))
    path = server.state / "snapshots" / APP.tenant / APP.project / f"{APP.environment}@{canary}.burgee"
    until(lambda: server.row().get("canary"))
    path.write_bytes(b"not a snapshot")  # before anybody asks for it
    with server.traffic():
        until(lambda: all_have(server, canary + 1))
    assert nobody_failed(server)
    assert "a worker cannot map its snapshot" in server.messages()[-1]
    assert server.actions()[-1] == ("canary", "canary.halt")


def test_another_publish_goes_to_all_and_ends_it(server: Server) -> None:
    canary = server.publish("two", Plan(share=0.5, seconds=LONG))
    until(lambda: server.row().get("canary"))
    server.publish("three")
    until(lambda: {server.ask() for _ in range(20)} == {(str(canary + 1), "three")})
    assert "canary" not in server.row()
