"""Servers for the tests of this folder: one on the samples that nobody changes, and folders to change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import keys
from server.sources import key_file
from server.sources.key_file import KeyFile, KeyRecord
from server.types import KeyKind, ProjectId
from tests.server.running import SAMPLES, Running, running


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(SAMPLES, tmp_path_factory.mktemp("samples") / "tenants"))


@pytest.fixture(scope="session")
def server(samples: Path) -> Iterator[Running]:
    with running(samples) as started:
        yield started


@pytest.fixture
def tenants(tmp_path: Path) -> Path:
    """A folder with one tenant that has no project yet."""
    folder = tmp_path / "tenants"
    (folder / "acme").mkdir(parents=True)
    return folder


def add_key(tenants: Path, *environments: str, kind: KeyKind = KeyKind.SERVER, project: str = "app") -> str:
    """A key in the project's file, as `burgee keys new` makes it."""
    path = key_file.path_of(tenants, ProjectId("acme", project))
    known = key_file.parse(path.read_bytes()).keys if path.exists() else ()
    key = keys.new_key(kind)
    record = KeyRecord(
        selector=keys.selector_of(key) or "",
        sha256=keys.digest_of(key).hex(),
        kind=kind,
        environments=environments or ("default",),
        created=key_file.now(),
    )
    key_file.write(path, KeyFile((*known, record)))
    return key
