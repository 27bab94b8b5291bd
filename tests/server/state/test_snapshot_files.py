"""Snapshots on disk: whole or not there, never another's, and those that are not wanted any more go."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import SnapshotError
from server.state.snapshots import SnapshotFiles
from server.types import ProjectId
from tests.server.state.publishing import environment, snapshot


@pytest.fixture
def files(tmp_path: Path) -> SnapshotFiles:
    return SnapshotFiles(tmp_path)


def versions_of(files: SnapshotFiles) -> list[str]:
    return sorted(each.name for each in files.path_of(environment("a"), 1).parent.iterdir())


def test_what_was_written_is_mapped(files: SnapshotFiles) -> None:
    published = files.write(environment("a"), 7, snapshot("one"))
    assert files.has(environment("a"), published)
    assert files.map(environment("a"), published).digest == published.digest
    assert (files.newest(ProjectId("a", "app")), list(files.projects())) == (7, [ProjectId("a", "app")])
    assert versions_of(files) == ["default@7.burgee"]  # no temporary file stays


def test_what_does_not_load_is_not_written(files: SnapshotFiles) -> None:
    with pytest.raises(SnapshotError):
        files.write(environment("a"), 7, snapshot("one")[:-1])
    assert files.newest(ProjectId("a", "app")) == 0


def test_a_good_snapshot_in_the_wrong_place_is_refused(files: SnapshotFiles) -> None:
    published = files.write(environment("a"), 1, snapshot("one"))
    files.write(environment("a"), 1, snapshot("two"))
    with pytest.raises(SnapshotError, match="not the snapshot that was published"):
        files.map(environment("a"), published)


def test_a_missing_or_short_file_is_not_there(files: SnapshotFiles) -> None:
    published = files.write(environment("a"), 1, snapshot("one"))
    path = files.path_of(environment("a"), 1)
    path.write_bytes(path.read_bytes()[:-1])
    assert not files.has(environment("a"), published)
    path.unlink()
    assert not files.has(environment("a"), published)
    with pytest.raises(FileNotFoundError):
        files.map(environment("a"), published)


def test_old_versions_go_and_newer_ones_stay(files: SnapshotFiles) -> None:
    old, last, latest, _next = (files.write(environment("a"), n, snapshot("one")) for n in (1, 2, 3, 4))
    temporary = files.path_of(environment("a"), 5).with_name(".default@5.burgee.00.tmp")
    temporary.touch()  # somebody writes it just now
    files.keep_only(ProjectId("a", "app"), (last, latest), up_to=3)
    assert versions_of(files) == [temporary.name, "default@2.burgee", "default@3.burgee", "default@4.burgee"]
    files.keep_only(ProjectId("a", "app"), (), up_to=4)
    assert versions_of(files) == [temporary.name]
    files.keep_only(ProjectId("nobody", "app"), (old,), up_to=1)  # changes nothing, and does not fail
