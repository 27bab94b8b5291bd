"""A worker's view: it is what was published, also when files are damaged, keys move and memory is short."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.state.records import ProjectRecord
from server.types import ProjectId
from tests.server.state.publishing import Publishing, environment, grant, word_of


@pytest.fixture
def publishing(tmp_path: Path) -> Publishing:
    return Publishing(tmp_path)


def test_it_serves_what_is_published_and_forgets_what_is_gone(publishing: Publishing) -> None:
    catalog = publishing.catalog()
    told: list[ProjectId] = []
    catalog.on_change(told.extend)
    publishing.serve("a", 1, "one", grant("k"))
    assert word_of(catalog, "a") is None  # it has not looked
    catalog.refresh()
    assert word_of(catalog, "a") == "one" and catalog.grant(grant("k").digest) is not None
    publishing.serve("a", 2, "two")
    catalog.refresh()
    assert word_of(catalog, "a") == "two" and catalog.grant(grant("k").digest) is None
    publishing.publish(ProjectRecord("a", "app", version=2))
    catalog.refresh()
    assert word_of(catalog, "a") is None and not catalog.is_gone(environment("a"))
    assert told == [ProjectId("a", "app")] * 3


def test_an_environment_that_is_taken_out_is_gone(publishing: Publishing) -> None:
    catalog = publishing.catalog()
    both = tuple(publishing.write("a", 1, name, name) for name in ("x", "y"))
    publishing.publish(ProjectRecord("a", "app", both, version=1))
    catalog.refresh()
    assert (word_of(catalog, "a", "x"), word_of(catalog, "a", "y")) == ("x", "y")
    publishing.publish(ProjectRecord("a", "app", both[:1], version=2))
    catalog.refresh()
    assert word_of(catalog, "a", "y") is None and catalog.is_gone(environment("a", "y"))
    assert word_of(catalog, "a", "x") == "x"


def test_a_key_that_moves_to_another_project_stays_good(publishing: Publishing) -> None:
    catalog = publishing.catalog()
    mine, theirs = (publishing.write(tenant, 1, tenant) for tenant in ("a", "b"))
    publishing.publish(ProjectRecord("a", "app", (mine,), (grant("k"),), version=1))
    catalog.refresh()
    # In one commit, and the record that takes it before the one that gives it up.
    publishing.publish(
        ProjectRecord("b", "app", (theirs,), (grant("k"),), version=1), ProjectRecord("a", "app", (mine,), version=1)
    )
    catalog.refresh()
    found = catalog.grant(grant("k").digest)
    assert found is not None and found.project == ProjectId("b", "app")
    publishing.publish(ProjectRecord("a", "app", version=1), ProjectRecord("b", "app", (theirs,), version=1))
    catalog.refresh()
    assert catalog.grant(grant("k").digest) is None


def test_a_version_never_goes_back(publishing: Publishing) -> None:
    catalog = publishing.catalog()
    old = publishing.serve("a", 1, "one", grant("k"))
    publishing.serve("a", 2, "two")
    catalog.refresh()
    publishing.publish(ProjectRecord("a", "app", (old,), (grant("k"),), version=1))
    catalog.refresh()
    assert word_of(catalog, "a") == "two" and catalog.grant(grant("k").digest) is None


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "another"])
def test_a_snapshot_that_is_damaged_on_disk(publishing: Publishing, damage: str) -> None:
    before, after = publishing.catalog(), publishing.catalog()
    publishing.serve("a", 1, "one")
    before.refresh()
    assert word_of(before, "a") == "one"
    publishing.serve("a", 2, "two")
    path = publishing.files.path_of(environment("a"), 2)
    good = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        other = publishing.files.path_of(environment("a"), 1).read_bytes()
        path.write_bytes({"flipped": good[:200] + b"?" + good[201:], "truncated": good[:-1], "another": other}[damage])
    for catalog in (before, after):
        catalog.refresh()
    assert word_of(before, "a") == "one"  # it has that mapped
    assert word_of(after, "a") is None
    assert publishing.complaints == ["a/app/default@2"] * 2
    assert word_of(after, "a") is None and len(publishing.complaints) == 2  # said once
    publishing.serve("a", 3, "three")
    for catalog in (before, after):
        catalog.refresh()
        assert word_of(catalog, "a") == "three"


def test_a_journal_that_cannot_be_read_is_complained_of(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.state.catalog.RETRY_SECONDS", 0.0)
    publishing.serve("a", 1, "one")
    publishing.page.ready = True
    path = publishing.state / "journal.1"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    catalog = publishing.catalog()
    catalog.refresh()
    assert publishing.complaints == ["journal"]
    assert not catalog.loaded and not catalog.ready  # so that nobody is told that a key is unknown
    publishing.page.position = publishing.journal.renew()
    catalog.refresh()
    assert [catalog.ready, word_of(catalog, "a")] == [True, "one"]


def test_those_that_nobody_asks_for_are_let_go(publishing: Publishing) -> None:
    tenants = [f"t{n}" for n in range(20)]
    sizes = [publishing.serve(each, 1, each).size for each in tenants]
    catalog = publishing.catalog(budget=5 * max(sizes))
    told: list[ProjectId] = []
    catalog.refresh()
    catalog.on_change(told.extend)
    block = publishing.page.block(0)
    for _ in range(3):
        for each in tenants:
            assert word_of(catalog, each) == each
            assert word_of(catalog, "t0") == "t0"  # always in use
            assert block.mapped_bytes <= 5 * max(sizes) and block.mapped <= 5
    assert block.evictions == len(told) and block.evictions > 30
    assert ProjectId("t0", "app") not in told


def test_no_more_than_so_many_are_mapped(publishing: Publishing) -> None:
    for n in range(10):
        publishing.serve(f"t{n}", 1, f"t{n}")
    catalog = publishing.catalog(most=3)
    catalog.refresh()
    for n in [*range(10), *range(10)]:
        assert word_of(catalog, f"t{n}") == f"t{n}"
        assert publishing.page.block(0).mapped <= 3


def test_one_larger_than_the_budget_is_served_all_the_same(publishing: Publishing) -> None:
    publishing.serve("a", 1, "one")
    publishing.serve("b", 1, "two")
    catalog = publishing.catalog(budget=1)
    catalog.refresh()
    assert [word_of(catalog, each) for each in "abab"] == ["one", "two", "one", "two"]
    assert publishing.page.block(0).mapped == 1
