"""What Python sees of the front protocol; docs/adr/0009 says why there is one."""

import asyncio
from collections.abc import Callable, Iterable
from typing import final

from server.evaluations.telemetry import Telemetry
from server.front.admission import Admission
from server.http.event_address import Offer
from server.shared.page import Block, Page
from server.state.catalog import Catalog
from server.types import EnvironmentId, Grant, ProjectId

@final
class Front:
    """What all connections of one worker share. Call it for a new connection's protocol."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        catalog: Catalog,
        page: Page,
        block: Block,
        admission: Admission,
        handler: Callable[[], asyncio.Protocol],  # aiohttp's protocol, for what is handed over
        *,
        max_body: int,  # bytes
        head_timeout: float,  # seconds
        body_timeout: float,
        keepalive_timeout: float,
        telemetry: Telemetry | None = None,
        offer: Callable[[Grant, EnvironmentId, float], Offer] | None = None,  # of event streams, in bulk answers
    ) -> None: ...
    def __call__(self, *args: object, **kwargs: object) -> asyncio.Protocol: ...
    def tick(self) -> None:
        """Once a second: the date, deadlines of slow senders."""
    def forget(self, projects: Iterable[ProjectId]) -> None:
        """What keys of these projects open is another thing now."""
    def leave(self) -> None:
        """Every answer from now on is its connection's last, and says so."""
    async def drain(self, timeout: float) -> None:
        """Close what is idle, answer what is half here, then close that too; at the latest after `timeout` seconds."""
    @property
    def connections(self) -> int: ...

def scan(data: bytes, max_body: int = ...) -> tuple[int, int, int] | None | bool:
    """For tests: (route, bytes of head, bytes of body); None: more bytes are needed; False: not one for the front."""
