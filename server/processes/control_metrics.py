"""The metrics of this server's control plane, for the agent's management port.

await metrics_of("/var/lib/burgee/control.sock", accept)      its /metrics; b"" while it cannot be asked
"""

from __future__ import annotations

from typing import Final

import aiohttp

_PATIENCE: Final = aiohttp.ClientTimeout(total=2.0)  # a scrape waits for ten


async def metrics_of(path: str, accept: str) -> bytes:
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(path), timeout=_PATIENCE) as session,
            session.get("http://control/metrics", headers={"Accept": accept}) as answer,
        ):
            return await answer.read() if answer.status == 200 else b""
    except (aiohttp.ClientError, OSError, TimeoutError):
        return b""
