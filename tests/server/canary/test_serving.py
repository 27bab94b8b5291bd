"""Canaries on a real server under traffic: a bad one is halted by itself, a good one is promoted, nobody goes back."""

from __future__ import annotations

from pathlib import Path

from server.record.canaries import Plan
from tests.server.canary.serving import APP, Server, serving
from tests.server.running import until

LONG = 600.0  # seconds: longer than any test


def nobody_failed(server: Server) -> bool:
    return {status for _, _, status in server.seen} == {200}


def test_a_canary_that_gives_the_code_default_is_halted(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        with server.traffic():
            assert server.publish(None, Plan(share=0.5, seconds=LONG)) == 2
            until(lambda: "2" in server.versions())
            workers = server.row()["workers"]  # while it runs: one each
            assert sorted(workers.values()) == [1, 2] and server.row()["canary"]["version"] == 2
            until(lambda: [version for version, _, _ in server.seen[-40:]] == ["3"] * 40)
        assert nobody_failed(server)
        assert {(version, word) for version, word, _ in server.seen} == {("1", "one"), ("2", None), ("3", "one")}
        assert server.actions()[-2:] == [("canary", "environment.rollback"), ("canary", "canary.halt")]
        assert "canary" not in server.row() and "workers" not in server.row()


def test_a_canary_without_complaint_is_promoted(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        with server.traffic():
            server.publish("two", Plan(share=0.5, seconds=4.0))
            until(lambda: {"1", "2"} <= {version for version, _, _ in server.seen[-20:]})
            until(lambda: [version for version, _, _ in server.seen[-40:]] == ["2"] * 40)
        assert nobody_failed(server) and server.row()["version"] == 2
        assert server.actions()[-1] == ("canary", "canary.promote")


def test_a_canary_that_cannot_be_mapped_is_halted(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.publish("two", Plan(share=0.5, seconds=LONG))
        path = server.state / "snapshots" / APP.tenant / APP.project / f"{APP.environment}@2.burgee"
        until(lambda: server.row().get("canary"))
        path.write_bytes(b"not a snapshot")  # before anybody asks for it
        with server.traffic():
            until(lambda: [version for version, _, _ in server.seen[-40:]] == ["3"] * 40)
        assert nobody_failed(server) and "2" not in server.versions()
        assert ("canary", "canary.halt") in server.actions()


def test_one_worker_alone_takes_no_canary(tmp_path: Path) -> None:
    with serving(tmp_path, workers=1) as server:
        server.publish("two", Plan(share=0.5, seconds=2.0))
        until(lambda: server.row().get("canary"))
        assert server.ask() == ("1", "one")
        until(lambda: server.ask() == ("2", "two"))  # its time is over


def test_another_publish_goes_to_all_and_ends_it(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.publish("two", Plan(share=0.5, seconds=LONG))
        until(lambda: server.row().get("canary"))
        server.publish("three")
        until(lambda: server.row()["version"] == 3 and "canary" not in server.row())
        assert {server.ask() for _ in range(20)} == {("3", "three")}
