"""An environment's settings, set."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import update

from server.control.publishing.publish import Desk
from server.record.tables import environments
from tests.server.record.rows import PRODUCTION


async def set_settings(desk: Desk, **settings: Any) -> None:
    """Of the environment `production`."""
    here = (environments.c.tenant == PRODUCTION.tenant) & (environments.c.name == PRODUCTION.environment)
    async with desk.record.change() as tx:
        await tx.execute(update(environments).where(here).values(settings=msgspec.json.encode(settings).decode()))
