"""Which worker answers from a canary, and that none ever goes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.state.committed import Committed
from server.state.records import Canary, ProjectRecord, Published
from server.types import EnvironmentId, ProjectId
from tests.server.state.publishing import Publishing, environment, word_of


@pytest.fixture
def publishing(tmp_path: Path) -> Publishing:
    return Publishing(tmp_path)


def try_out(publishing: Publishing, live: Published, version: int, word: str) -> Published:
    """A canary for half of the workers."""
    canary = publishing.write("a", version, word)
    publishing.publish(ProjectRecord("a", "app", (live,), version=version, canaries=(Canary(canary, 0.5, 0.0),)))
    return canary


@pytest.mark.parametrize(
    ("share", "workers", "slots"),
    [(0.01, 4, {0}), (0.5, 4, {0, 1}), (0.99, 4, {0, 1, 2}), (0.5, 2, {0}), (0.9, 1, set())],
)
def test_which_slots_take_it(share: float, workers: int, slots: set[int]) -> None:
    canary = Canary(Published("default", 2, "", 1, 1, 0.0), share, 0.0)
    assert {slot for slot in range(workers) if canary.is_for(slot, workers)} == slots


def test_each_worker_answers_from_its_side(publishing: Publishing) -> None:
    first, second = (publishing.catalog(slot=slot, workers=2) for slot in (0, 1))
    live = publishing.serve("a", 1, "one")
    try_out(publishing, live, 2, "two")
    for each in (first, second):
        each.refresh()
    assert (word_of(first, "a"), word_of(second, "a")) == ("two", "one")
    published = [each.published(environment("a")) for each in (first, second)]
    assert [each and each.version for each in published] == [2, 1]
    publishing.serve("a", 3, "one")  # halted
    for each in (first, second):
        each.refresh()
        served = each.served(environment("a"))
        assert served is not None and served.version == "3"


@pytest.mark.parametrize("was_mapped", [True, False])
def test_one_that_cannot_be_mapped(publishing: Publishing, was_mapped: bool) -> None:
    catalog = publishing.catalog(workers=2)
    live = publishing.serve("a", 1, "one")
    if was_mapped:
        catalog.refresh()
        assert word_of(catalog, "a") == "one"
    try_out(publishing, live, 2, "two")
    publishing.files.path_of(environment("a"), 2).write_bytes(b"no")
    catalog.refresh()
    assert [word_of(catalog, "a") for _ in range(3)] == ["one"] * 3
    assert publishing.complaints == ["a/app/default@2"]  # said once


def test_nobody_goes_back_when_a_canary_is_damaged_later(publishing: Publishing) -> None:
    catalog = publishing.catalog(workers=2, most=1)
    live = publishing.serve("a", 1, "one")
    publishing.serve("b", 1, "else")
    try_out(publishing, live, 2, "two")
    catalog.refresh()
    assert word_of(catalog, "a") == "two"
    assert word_of(catalog, "b") == "else"  # for which the canary is let go
    publishing.files.path_of(environment("a"), 2).write_bytes(b"no")
    assert word_of(catalog, "a") is None


def test_what_a_worker_has_by_its_position() -> None:
    web, api = ProjectId("shop", "web"), ProjectId("shop", "api")
    committed = Committed(10, [ProjectRecord(*web, version=1), ProjectRecord(*api, version=5)])
    assert committed.reached(9) == {}
    assert committed.reached(10) == {web: 1, api: 5}
    for version in range(2, 9):
        committed.note([ProjectRecord(*web, version=version)], version * 100)
    at = {position: committed.record_at(web, position) for position in (10, 599, 600, 799, 800, 10_000)}
    assert {position: record and record.version for position, record in at.items()} == {
        10: None,  # too long ago
        599: 5,
        600: 6,
        799: 7,
        800: 8,
        10_000: 8,
    }
    assert committed.reached(650) == {web: 6}
    assert committed.reached(650) == {}


def test_which_canaries_run() -> None:
    live, canary = (Published("default", version, "", 1, 1, 0.0) for version in (1, 2))
    tried = ProjectRecord("a", "app", (live,), version=2, canaries=(Canary(canary, 0.5, 0.0),))
    committed = Committed(10, [tried])
    committed.note([ProjectRecord("b", "app", (live,), version=1)], 20)
    assert list(committed.trials) == [EnvironmentId("a", "app", "default")]
    committed.note([ProjectRecord("a", "app", (canary,), version=3)], 30)
    assert committed.trials == {}


def test_what_nobody_asks_for_does_not_grow() -> None:
    committed = Committed()
    for at in range(1, 1000):
        committed.note([ProjectRecord("shop", "web", version=at)], at)
    assert len(committed._pending) < 10
    assert committed.reached(2000) == {ProjectId("shop", "web"): 999}
