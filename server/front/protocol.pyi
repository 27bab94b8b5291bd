"""What Python sees of the front protocol; docs/adr/0009 says why there is one."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, final

from server.store import Store

class _Bucket(Protocol):
    def take(self) -> float: ...  # seconds to wait, or 0

@final
class Front:
    """What all connections of one listener share. Call it for a new connection's protocol."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        store: Store,
        handler: Callable[[], asyncio.Protocol],  # aiohttp's protocol, for what is handed over
        *,
        bucket_of: Callable[[str], _Bucket] | None,  # a tenant's; None: no limit
        count: Callable[[str, str, int], object],  # route, status, how many more
        took: Callable[[str, list[int], float], object],  # route, how many more in each bucket, seconds
        bounds: Sequence[float],  # of the buckets, seconds
        max_body: int,  # bytes
        head_timeout: float,  # seconds
        body_timeout: float,
        keepalive_timeout: float,
    ) -> None: ...
    def __call__(self, *args: object, **kwargs: object) -> asyncio.Protocol: ...
    def tick(self) -> None:
        """Once a second: the date, counts to metrics, deadlines of slow senders."""
    async def drain(self, timeout: float) -> None:
        """Close what is idle, answer what is half here, then close that too; at the latest after `timeout` seconds."""
    @property
    def connections(self) -> int: ...

def scan(data: bytes, max_body: int = ...) -> tuple[int, int, int] | None | bool:
    """For tests: (route, bytes of head, bytes of body); None: more bytes are needed; False: not one for the front."""
