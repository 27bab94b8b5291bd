"""One control plane for a module, on SQLite; `either` on both databases, one for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.control.running import Plane, running


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with running(f"sqlite:///{tmp_path_factory.mktemp('record') / 'record.db'}") as started:
        yield started


@pytest.fixture
def either(database_url: str) -> Iterator[Plane]:
    with running(database_url) as started:
        yield started
