"""Listing the folder of tenants, and replacing files in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.files import write_atomically
from server.sources.folder import scan
from server.types import ProjectId


def test_projects_are_documents_and_key_files_and_nothing_else(tenants: Path) -> None:
    for name in (
        "a.yaml", "b.yml", "c.json", "a.keys.yaml", "d.keys.yaml", "two.yaml", "two.json",
        ".hidden.yaml", "notes.txt", "sp ace.yaml", ".yaml", ".a.keys.yaml.1.tmp",
    ):  # fmt: skip
        (tenants / "acme" / name).write_text("")
    (tenants / ".git").mkdir()
    (tenants / "README.md").write_text("")
    listing = scan(tenants)
    assert {
        project.project: (len(found.documents), found.keys is not None) for project, found in listing.projects.items()
    } == {
        "a": (1, True),
        "b": (1, False),
        "c": (1, False),
        "d": (0, True),
        "two": (2, False),
    }
    assert listing.unreadable == {}


def test_a_link_shows_the_change_of_what_it_leads_to(tenants: Path) -> None:
    first, second = tenants / ".first", tenants / ".second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "app.yaml").write_text("same size")
    (tenants / ".data").symlink_to(first)
    (tenants / "acme" / "app.yaml").symlink_to(tenants / ".data" / "app.yaml")
    before = scan(tenants).projects[ProjectId("acme", "app")]
    (tenants / ".data").unlink()
    (tenants / ".data").symlink_to(second)
    assert scan(tenants).projects[ProjectId("acme", "app")] != before


def test_a_folder_that_is_not_there_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        scan(tmp_path / "gone")


def test_writing_replaces_a_file_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    inode = path.stat().st_ino
    write_atomically(path, b"new")
    assert path.read_text() == "new"
    assert path.stat().st_ino != inode
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "taken", b"new")
    assert os.listdir(tmp_path) == ["taken"]
