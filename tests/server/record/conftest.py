"""A record with its schema, on SQLite and on Postgres."""

from __future__ import annotations

import asyncio

import pytest

from server.record.schema import open_migrated


@pytest.fixture
def url(database_url: str) -> str:
    """Of a database with the schema and nothing in it."""

    async def migrated() -> None:
        await (await open_migrated(database_url)).close()

    asyncio.run(migrated())
    return database_url
