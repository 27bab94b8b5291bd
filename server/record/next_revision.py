"""Prints the body of the revision that `server/record/tables.py` needs: what it has and the migrations do not make."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from alembic.autogenerate import produce_migrations, render_python_code

from server.record.database import open_record
from server.record.schema import context_of, migrate
from server.record.tables import metadata


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        record = await open_record(f"sqlite:///{Path(folder) / 'record.db'}")
        await migrate(record)
        async with record.look() as tx:
            steps = await tx.run_sync(
                lambda connection: produce_migrations(context_of(connection), metadata).upgrade_ops
            )
        await record.close()
    print(render_python_code(steps) if steps else "")


if __name__ == "__main__":
    asyncio.run(main())
