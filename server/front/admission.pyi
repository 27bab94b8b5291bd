"""Who is let in: quotas of tenants over the whole host, and less work than there is while this process has too much.

docs/adr/0011-admission.md says why so. `now` is CLOCK_MONOTONIC in nanoseconds.
"""

from collections.abc import Callable
from typing import final

from server.quotas import Quota, Quotas
from server.shared.page import Block, Cell, Page

TEXTS: tuple[str, ...]  # by place in the page's LIMITS: what a refusal says
OVERLOADED: str

@final
class Tenant:
    """A tenant as this process knows it."""

    @property
    def name(self) -> str: ...
    @property
    def cell(self) -> Cell: ...
    @property
    def quota(self) -> Quota: ...
    @property
    def greedy(self) -> bool:
        """While there was too much to do, it used more than its share of the last window."""
    @property
    def used(self) -> int: ...  # nanoseconds of the window in which it was answered last

@final
class Admission:
    """One for each worker; the front and aiohttp's handlers ask the same."""

    def __init__(
        self,
        page: Page,
        block: Block,
        quotas: Quotas,
        *,
        shed_after: float,  # seconds; 0: never
        call_soon: Callable[[Callable[[], None]], object],  # the event loop's
    ) -> None: ...
    def tenant(self, name: str) -> Tenant: ...
    def arrived(self) -> None:
        """Bytes have, at aiohttp, or it goes on with a request: the front looks by itself."""
    def begin_turn(self, now: int) -> int: ...
    def end_turn(self, now: int) -> int: ...
    def refused(self, tenant: Tenant, body: int, now: int) -> tuple[int, int] | None:
        """(place in LIMITS, seconds to wait) of the quota that says no to a request; None: it may pass, and is counted.

        `body` is what is not here yet, in bytes; the caller holds it while it comes.
        """
    def refused_stream(self, tenant: Tenant) -> tuple[int, int] | None:
        """The same for an event stream; the caller holds it while it is open."""
    def hold(self, tenant: Tenant, body: int) -> int:
        """So many more (or fewer) bytes of bodies are on their way."""
    def sheds(self, tenant: Tenant, cost: int, now: int) -> bool:
        """Is the next request to be refused for the sake of others? `cost` is what such a one takes, in nanoseconds."""
    def took(self, tenant: Tenant, spent: int) -> int:
        """One was answered in so many nanoseconds."""
    def charge(self, tenant: Tenant, evaluations: int, now: int) -> int: ...
    def retry_after(self) -> int:
        """Seconds for one that was shed, so that not all come back at once; it is counted as shed by the caller."""
    def tick(self) -> None:
        """Once a second: an overload does not outlast its requests."""
    @property
    def overloaded(self) -> bool: ...
