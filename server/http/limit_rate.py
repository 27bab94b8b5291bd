"""A token bucket per tenant: one tenant's flood gets 429 before its bodies are read.

A bucket holds one second's worth of requests, so a burst of that size passes; then they pass at the rate.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from server.http.authenticate import GRANT
from server.http.failures import Refused


class TokenBucket:
    """
    >>> clock = iter([0.0, 0.0, 0.0, 0.5]).__next__
    >>> bucket = TokenBucket(2.0, clock)
    >>> [bucket.take(), bucket.take(), bucket.take()]
    [0.0, 0.0, 0.0]
    """

    __slots__ = ("_clock", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._tokens = max(rate, 1.0)
        self._filled_at = clock()

    def take(self) -> float:
        """Takes a token and returns 0, or takes none and returns the seconds until there is one."""
        now = self._clock()
        self._tokens = min(max(self._rate, 1.0), self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate


class LimitRate:
    __middleware_version__ = 1

    def __init__(self, rate: float) -> None:
        """`rate` in requests a second for each tenant."""
        self._rate = rate
        self._buckets: dict[str, TokenBucket] = {}  # only of tenants that presented a valid key

    def bucket_of(self, tenant: str) -> TokenBucket:
        bucket = self._buckets.get(tenant)
        if bucket is None:
            bucket = self._buckets[tenant] = TokenBucket(self._rate)
        return bucket

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        grant = request.get(GRANT)
        if grant is not None and (wait := self.bucket_of(grant.project.tenant).take()):
            raise Refused(429, "too many requests", headers={"Retry-After": str(math.ceil(wait))})
        return await handler(request)
