"""A host says what all its workers have, and how canaries fare there, to whom it gets its records from (docs/sync.md).

    await Reporter(committed, trials, page, session, url="http://control", host="edge-1", state=…).run()

sends `PUT /v1/sync/hosts/edge-1` when something changed and every 10 s: first all projects with their numbers, then those
that changed. Whoever hears the reports may be away, or new: the next report that arrives has what it lacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec
import structlog

from server.shared.page import Block, Page
from server.state.committed import Committed
from server.sync.messages import HOSTS, HostReport
from server.sync.trials import Trials
from server.types import ProjectId
from server.version import version

EVERY: Final = 10.0  # seconds between two reports where nothing changes
_FIRST_LOOK, _LOOK = 0.002, 0.25  # seconds between two looks at the workers: while they follow something, and else
_FOLLOWED: Final = 2.0  # seconds that workers are given to follow before they are looked at less often
_RETRY, _LONGEST_RETRY = 0.5, 15.0
_TIMEOUT: Final = 5.0
_TRIED: Final = 1.0  # seconds between two looks at canaries


@dataclass(frozen=True, slots=True)
class Standing:
    """What the agent says of itself besides."""

    source: str = ""  # folder, control, redis, upstream
    held: bool = False
    behind: tuple[tuple[ProjectId, str], ...] = ()  # what could not be installed, and why


def workers_of(page: Page) -> Iterator[Block]:
    """The processes that answer: the agent has a block, and no position."""
    blocks = (page.block(index) for index in range(page.block_count))
    return (each for each in blocks if each.pid and each.position)


class Reporter:
    def __init__(
        self,
        committed: Committed,
        trials: Trials,
        page: Page,
        session: aiohttp.ClientSession,
        *,
        url: str,
        host: str,
        standing: Callable[[], Standing],
    ) -> None:
        """`session` opens the connections, and has the key in its headers where one is needed."""
        self._committed = committed
        self._trials = trials
        self._page = page
        self._session = session
        self._url = f"{url.rstrip('/')}{HOSTS}/{quote(host, safe='')}"
        self._standing = standing
        self._reached: dict[ProjectId, int] = {}
        self._unsaid: set[ProjectId] = set()
        self._number = 0  # of the next report; 0: all of it
        self._said: HostReport | None = None  # the last one, without projects
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._position = 0
        self._followed_until = 0.0
        self._tried_at = self._stood_at = 0.0
        self._standing_now = HostReport()
        self._woken = asyncio.Event()
        self._log = structlog.get_logger("reports")

    def wake(self) -> None:
        """Something was committed: workers are about to follow."""
        self._woken.set()

    async def run(self) -> None:
        due, retry = 0.0, _RETRY
        while True:
            self._woken.clear()
            self._look()
            if time.monotonic() >= due or (retry == _RETRY and (self._unsaid or self._standing_now != self._said)):
                if await self._send(self._standing_now):
                    due, retry = time.monotonic() + EVERY * random.uniform(0.8, 1.2), _RETRY
                else:
                    due = time.monotonic() + retry * random.uniform(0.5, 1.5)
                    retry = min(_LONGEST_RETRY, 2 * retry)
            pause = _FIRST_LOOK if time.monotonic() < self._followed_until else _LOOK
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), pause)

    def _look(self) -> None:
        """At how far the workers are; now and then at all else."""
        now = time.monotonic()
        blocks = list(workers_of(self._page))
        least = min((each.position for each in blocks), default=0)
        if self._page.position != self._position:
            self._position, self._followed_until = self._page.position, now + _FOLLOWED
        if least >= self._position:
            self._followed_until = 0.0
        for project, number in self._committed.reached(least).items():
            self._reached[project] = number
            self._unsaid.add(project)
        if now - self._tried_at >= _TRIED:
            self._tried_at = now
            self._trials.look(blocks)
        if now - self._stood_at >= _LOOK:
            self._stood_at = now
            self._standing_now = self._stand()

    def _stand(self) -> HostReport:
        standing = self._standing()
        return HostReport(
            behind={str(project): why for project, why in standing.behind},
            workers=sum(1 for _ in workers_of(self._page)),
            held=standing.held,
            source=standing.source,
            version=version(),
            started_at=self._started_at,
            canaries=self._trials.reports(),
        )

    async def _send(self, standing: HostReport) -> bool:
        said = set(self._unsaid) if self._number else set(self._reached)
        numbers = {str(each): self._reached[each] for each in said}
        body = msgspec.structs.replace(standing, projects=numbers, number=self._number)
        try:
            async with self._session.put(
                self._url,
                data=msgspec.json.encode(body),
                headers={"Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
                allow_redirects=False,
            ) as reply:
                status = reply.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._log.debug("a report did not arrive", why=str(error))
            self._number = 0  # who knows what did
            return False
        if status != 204:
            self._log.debug("a report was refused", status=status)
            incremental, self._number = self._number, 0
            return status == 409 and incremental > 0 and await self._send(standing)  # to one who is new: all of it
        self._unsaid -= {each for each in said if self._reached[each] == numbers[str(each)]}
        self._number += 1
        self._said = standing
        return True
