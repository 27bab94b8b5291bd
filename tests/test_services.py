"""The servers of the tests are real ones, and do what fault tests ask of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import asyncpg
import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests import services
from tests.services import PostgresServer, RedisServer


def test_a_redis_is_paused_killed_and_begun_again(own_redis: RedisServer) -> None:
    client = Redis.from_url(own_redis.url, socket_timeout=0.3)
    client.set("a", "1")
    own_redis.pause()
    with pytest.raises(RedisError):
        client.get("a")
    own_redis.resume()
    assert Redis.from_url(own_redis.url).get("a") == b"1"
    before = own_redis.pid
    own_redis.kill()
    with pytest.raises(RedisError):
        client.get("a")
    own_redis.start()
    assert own_redis.pid != before
    assert Redis.from_url(own_redis.url).get("a") is None


def test_a_postgres_is_paused_killed_and_begun_again(own_postgres: PostgresServer) -> None:
    url = own_postgres.new_database()

    async def ask(statement: str) -> object:
        connection = await asyncpg.connect(url, timeout=3)
        try:
            return await connection.fetchval(statement, timeout=3)
        finally:
            connection.terminate()

    asyncio.run(ask("CREATE TABLE kept (n int)"))
    own_postgres.pause()
    with pytest.raises((TimeoutError, OSError)):
        asyncio.run(ask("SELECT count(*) FROM kept"))
    own_postgres.resume()
    assert asyncio.run(ask("SELECT count(*) FROM kept")) == 0
    own_postgres.kill()
    with pytest.raises(OSError):
        asyncio.run(ask("SELECT 1"))
    own_postgres.start()
    assert asyncio.run(ask("SELECT count(*) FROM kept")) == 0


def test_nothing_is_left_of_a_server() -> None:
    with RedisServer() as server:
        folder, pid = server.folder, server.pid
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("package", ["redis", "postgres"])
def test_the_wheels_do_where_the_machine_has_nothing(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(services, "SYSTEM_FOLDERS", ())
    programs = services.redis_program() if package == "redis" else services.postgres_programs() / "postgres"
    assert programs.is_relative_to(Path(services.__file__).parent.parent / ".venv") or "site-packages" in str(programs)
    said = subprocess.run([programs, "--version"], capture_output=True, text=True, check=True).stdout
    assert "v=" in said or "PostgreSQL" in said
