"""A record with its schema, on SQLite and on Postgres: migrated once, and copied for each test."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from server.record.schema import open_migrated
from tests.services import PostgresServer


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("record") / "record.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def migrated_database(postgres_server: PostgresServer) -> str:
    """Its name."""
    url = postgres_server.new_database()
    asyncio.run(_migrate(url))
    return url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database with the schema and nothing in it."""
    if request.param == "sqlite":
        migrated: Path = request.getfixturevalue("migrated_file")
        return f"sqlite:///{shutil.copy(migrated, tmp_path / 'record.db')}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database(request.getfixturevalue("migrated_database"))


async def _migrate(url: str) -> None:
    await (await open_migrated(url)).close()
