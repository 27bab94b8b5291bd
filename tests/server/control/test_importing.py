"""A folder into an empty record, where two files claim one key."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

from sqlalchemy import select

from server.control.importing import fill
from server.record.schema import open_migrated
from server.record.tables import environments, keys
from server.sources.compiling import Compiler
from tests.server.conftest import add_key

DOCUMENT = {"flags": {"word": {"type": "boolean", "variants": {"on": True, "off": False}, "fallthrough": "on"}}}


def test_a_key_in_two_files_opens_the_first(tmp_path: Path, database_url: str) -> None:
    acme = tmp_path / "tenants" / "acme"
    acme.mkdir(parents=True)
    for name in ("app", "web"):
        (acme / f"{name}.json").write_text(json.dumps(DOCUMENT))
    add_key(tmp_path / "tenants")
    shutil.copy(acme / "app.keys.yaml", acme / "web.keys.yaml")
    add_key(tmp_path / "tenants", project="web")

    async def run() -> None:
        record, compiler = await open_migrated(database_url), Compiler(1)
        assert await fill(record, tmp_path / "tenants", compiler) == 2
        async with record.look() as tx:
            assert sorted(await tx.scalars(select(keys.c.project))) == ["app", "web"]
            live = await tx.execute(select(environments.c.project).where(environments.c.live_version > 0))
            assert sorted(live.scalars()) == ["app", "web"]
        compiler.close()
        await record.close()

    asyncio.run(run())
