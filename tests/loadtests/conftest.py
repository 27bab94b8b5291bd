"""A server with two workers on the tenants of the load tests, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.processes import Server, serving
from loadtests.tenants import Keys, prepare


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("load")


@pytest.fixture(scope="session")
def keys(folder: Path) -> dict[str, Keys]:
    return prepare(folder, "edge", "flood")


@pytest.fixture(scope="session")
def server(folder: Path, keys: dict[str, Keys]) -> Iterator[Server]:
    with serving(folder / "tenants", "--workers", "2", log=folder / "server.log") as started:
        yield started
