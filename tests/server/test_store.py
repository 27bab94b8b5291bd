"""The agent's store, and what a key may do on a route: without a server."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from server.front.admission import Admission
from server.http.authenticate import PERMITTED
from server.processes.worker import data_plane
from server.quotas import Quotas
from server.settings import Settings
from server.shared.page import Page
from server.state.catalog import Catalog
from server.state.records import KeyGrant, ProjectRecord, Published
from server.state.store import ProjectStatus, Store
from server.streams import Streams
from server.types import KeyKind, ProjectId, SourceState
from tests.server.running import ROOT

APP = ProjectId("acme", "app")
OTHER = ProjectId("other", "app")


@pytest.fixture
def records() -> list[ProjectRecord]:
    """What was published, in order."""
    return []


@pytest.fixture
def store(records: list[ProjectRecord]) -> Store:
    return Store(Page(1), records.append)


def install(store: Store, project: ProjectId, *names: str) -> None:
    environments = tuple(Published(name, 1, "00", 1, 1, 0.0) for name in names)
    store.install(project, environments, version=1, document=b"d", compiler="c")


def grant(digest: bytes) -> KeyGrant:
    return KeyGrant(digest, "s", KeyKind.SERVER, ("a",))


def names_of(store: Store, project: ProjectId) -> list[str]:
    return [each.name for each in store.record(project).environments]


def test_a_record_that_is_the_same_is_told_again_where_a_file_was_mended(
    store: Store, records: list[ProjectRecord]
) -> None:
    record = ProjectRecord("acme", "app", (Published("a", 1, "00", 1, 1, 0.0),), version=1)
    store.install_record(record)
    assert records == [record]
    store.install_record(record)
    assert records == [record, record]


def test_installing_replaces_a_project_and_no_other(store: Store, records: list[ProjectRecord]) -> None:
    for project in (APP, OTHER):
        install(store, project, "a", "b")
        store.set_status(project, ProjectStatus(SourceState.VALID, 0.0))
        store.install_keys(project, [grant(project.tenant.encode())])
    install(store, APP, "b", "c")
    assert (names_of(store, APP), names_of(store, OTHER)) == (["b", "c"], ["a", "b"])
    store.remove(APP)
    assert set(store.projects) == {OTHER}
    assert (names_of(store, APP), names_of(store, OTHER)) == ([], ["a", "b"])
    assert store.key_count == 1
    latest = {each.id: each for each in records}
    assert latest[APP].gone and latest[APP].version > 3  # higher with each change, so that edges hear of it
    assert latest[OTHER] == store.record(OTHER)


def test_what_changes_nothing_is_not_published(store: Store, records: list[ProjectRecord]) -> None:
    install(store, APP, "a")
    install(store, APP, "a")
    assert len(records) == 1


def test_a_key_of_another_project_cannot_be_taken_over(store: Store) -> None:
    store.install_keys(APP, [grant(b"k")])
    store.install_keys(OTHER, [grant(b"k")])
    assert (len(store.record(APP).keys), len(store.record(OTHER).keys)) == (1, 0)
    store.install_keys(OTHER, [])
    assert store.key_count == 1


def test_age_counts_from_when_the_source_was_last_known_to_agree(store: Store) -> None:
    install(store, APP, "a")
    store.set_status(APP, ProjectStatus(SourceState.VALID, 0.0))
    store.confirmed_at = time.monotonic() - 10
    assert 10 <= store.age_of(APP) < 1000
    store.set_status(APP, ProjectStatus(SourceState.STALE, 0.0, behind_since=time.monotonic() - 5000))
    assert store.age_of(APP) >= 5000


def test_every_route_of_the_data_plane_says_who_may_use_it(tmp_path: Path) -> None:
    page = Page(1)
    catalog = Catalog(tmp_path, page, page.block(0), budget=1)
    block = page.block(0)
    streams = Streams(catalog, page, block, longest=1.0, heartbeat=1.0)
    admission = Admission(page, block, Quotas(), shed_after=0.0, call_soon=lambda _: None)
    app = data_plane(Settings(tenants=ROOT), catalog, block, streams, admission)
    assert {route.name for route in app.router.routes()} == set(PERMITTED)
