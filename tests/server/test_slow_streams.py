"""A client that does not read its event stream loses it, and costs no more memory until then."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import uvloop

from server.shared.page import Page
from server.state.catalog import Catalog
from server.state.journal import Journal
from server.state.records import KeyGrant, ProjectRecord, Published
from server.streams import MOST_UNREAD, Streams
from server.types import KeyKind
from tests.server.running import PATIENCE

KEY = KeyGrant(b"k" * 32, "A" * 16, KeyKind.CLIENT, ("default",))


def record(version: int) -> ProjectRecord:
    return ProjectRecord("acme", "app", (Published("default", version, "", 0, 0, 0.0),), (KEY,))


async def publish_until_dropped(state: Path) -> int:
    """Bytes that were in the server's memory at most."""
    page = Page(1)
    block, journal = page.block(0), Journal(state)
    catalog = Catalog(state, page, block, budget=1)
    streams = Streams(catalog, page, block, longest=PATIENCE, heartbeat=1)
    catalog.on_change(streams.changed)
    page.position = journal.append([record(1)])
    catalog.refresh()
    [grant] = [each for each in [catalog.grant(KEY.digest)] if each]
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    streams.add(transport, grant, grant.environments[0], "1", True)
    tenant = page.cell("acme")
    assert (len(streams), page.streams_of(tenant), block.streams) == (1, 1, 1)
    most = 0
    for version in range(2, 10_000):
        page.position = journal.append([record(version)])
        catalog.refresh()
        most = max(most, transport.get_write_buffer_size())
        await asyncio.sleep(0)
        if not len(streams):
            break
    far.close()
    assert (len(streams), page.streams_of(tenant), block.streams) == (0, 0, 0)
    return most


def test_who_does_not_read_is_dropped(tmp_path: Path) -> None:
    most = uvloop.run(publish_until_dropped(tmp_path))
    assert 0 < most <= MOST_UNREAD + 1024
