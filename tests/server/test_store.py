"""The store's tables, the token bucket, and what a key may do on a route: without a server."""

from __future__ import annotations

import time
from dataclasses import replace

from engine import Snapshot
from rules_compiler import compile_flags
from server.app import data_plane
from server.http.authenticate import PERMITTED
from server.http.limit_rate import TokenBucket
from server.metrics import Metrics
from server.settings import Settings
from server.store import ProjectStatus, Store
from server.types import EnvironmentId, Grant, KeyKind, ProjectId, Served, SourceState
from tests.server.running import ROOT

APP = ProjectId("acme", "app")
OTHER = ProjectId("other", "app")
SNAPSHOT = Snapshot.from_bytes(compile_flags(b"flags: {}"))


def served(project: ProjectId, name: str) -> Served:
    return Served(EnvironmentId(*project, name), SNAPSHOT, "1", 0.0)


def grant(project: ProjectId, digest: bytes) -> Grant:
    return Grant(digest, "s", KeyKind.SERVER, project, (EnvironmentId(*project, "a"),), None)


def status(*environments: str) -> ProjectStatus:
    return ProjectStatus(SourceState.VALID, 0.0, environments)


def test_installing_replaces_a_project_and_no_other() -> None:
    store = Store()
    for project in (APP, OTHER):
        store.install(project, [served(project, "a"), served(project, "b")])
        store.set_status(project, status("a", "b"))
        store.install_keys(project, [grant(project, project.tenant.encode())])
    store.install(APP, [served(APP, "b"), served(APP, "c")])
    store.set_status(APP, status("b", "c"))
    assert sorted(str(each) for each in store.environments) == [
        "acme/app/b",
        "acme/app/c",
        "other/app/a",
        "other/app/b",
    ]
    store.remove(APP)
    assert {each.tenant for each in store.environments} == {"other"} == {each.tenant for each in store.projects}
    assert store.grant(b"acme") is None
    assert store.grant(b"other") is not None


def test_a_key_of_another_project_cannot_be_taken_over() -> None:
    store = Store()
    store.install_keys(APP, [grant(APP, b"k")])
    store.install_keys(OTHER, [grant(OTHER, b"k")])
    found = store.grant(b"k")
    assert found is not None and found.project == APP
    store.install_keys(OTHER, [])
    assert store.grant(b"k") is found


def test_age_counts_from_when_the_source_was_last_known_to_agree() -> None:
    store = Store()
    one = served(APP, "a")
    store.install(APP, [one])
    store.set_status(APP, status("a"))
    store.confirmed_at = time.monotonic() - 10
    assert 10 <= store.age_of(one) < 1000
    store.set_status(APP, replace(status("a"), behind_since=time.monotonic() - 5000))
    assert store.age_of(one) >= 5000


def test_a_bucket_lets_a_burst_and_then_the_rate_through() -> None:
    now = 0.0
    bucket = TokenBucket(2.0, lambda: now)
    assert [bucket.take(), bucket.take()] == [0.0, 0.0]
    assert bucket.take() == 0.5
    now = 0.5
    assert bucket.take() == 0.0
    assert bucket.take() == 0.5
    now = 1000.0
    assert [bucket.take(), bucket.take(), bucket.take() > 0] == [0.0, 0.0, True]


def test_every_route_of_the_data_plane_says_who_may_use_it() -> None:
    store = Store()
    app = data_plane(Settings(tenants=ROOT), store, Metrics(store), None)
    assert {route.name for route in app.router.routes()} == set(PERMITTED)
