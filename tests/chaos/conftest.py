"""Worlds that several faults share: they begin once, and every fault must leave them whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.world import World, world


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One command: SQLite, no Redis; and another host that asks it."""
    with world(tmp_path_factory.mktemp("embedded")) as it, it.started(it.host("far", workers=1)):
        yield it


@pytest.fixture(scope="session")
def through_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Postgres and Redis; a host that has Redis alone, as its upstream never answers."""
    with world(tmp_path_factory.mktemp("redis"), redis=True, postgres=True) as it:
        assert it.redis is not None
        with it.started(it.host("far", "--redis", it.redis.url, upstream="http://127.0.0.1:9", workers=1)):
            yield it
