"""A host says what all its workers have, and how canaries fare there, to whom it gets its records from (docs/sync.md).

    await Reporter(committed, trials, page, askers, host="edge-1", standing=…).run()

sends `PUT /v1/sync/hosts/edge-1` when something changed and every 10 s: first all projects with their numbers, then
those that changed. Whoever hears it may be away, or new: the next report that arrives has what it lacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog

from server.shared.page import Page
from server.state.committed import Committed, workers_of
from server.sync.asking import Asker, AskError
from server.sync.messages import HostReport
from server.sync.trials import Trials
from server.types import ProjectId
from server.version import version

EVERY: Final = 10.0  # seconds between two reports where nothing changes
_RETRY, _LONGEST_RETRY = 0.5, 15.0  # seconds after a failure; doubled each time, times a factor of 0.5 to 1.5
_CLOSE_LOOK, _LOOK = 0.002, 0.25  # seconds between two looks at the workers: while they follow something, and else
_FOLLOWED: Final = 2.0  # seconds that workers are given to follow before they are looked at less often
_STOOD: Final = 1.0  # seconds between two looks at canaries and at all else


@dataclass(frozen=True, slots=True)
class Standing:
    """What the agent says of itself besides."""

    source: str = ""  # control, upstream, redis
    held: bool = False
    behind: tuple[tuple[ProjectId, str], ...] = ()  # what could not be installed, and why


def host_name(state: Path) -> str:
    """The machine's, and a mark of the state folder: several servers may run on one machine."""
    return f"{socket.gethostname()}-{hashlib.sha256(str(state).encode()).hexdigest()[:4]}"


class Reporter:
    def __init__(
        self,
        committed: Committed,
        trials: Trials,
        page: Page,
        askers: Sequence[Asker],
        *,
        host: str,
        standing: Callable[[], Standing],
    ) -> None:
        self._committed = committed
        self._trials = trials
        self._page = page
        self._standing = standing
        self._reached: dict[ProjectId, int] = {}
        self._ears = [_Ear(each, host, self._reached) for each in askers]
        self._started_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something was committed: workers are about to follow."""
        self._woken.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            for ear in self._ears:
                tasks.create_task(ear.run())

    async def _watch(self) -> None:
        """How far the workers are; now and then all else."""
        report = HostReport()
        position, followed_until, stood_at = 0, 0.0, 0.0
        while True:
            self._woken.clear()
            now = time.monotonic()
            blocks = list(workers_of(self._page))
            least = min((each.position for each in blocks), default=0)
            if self._page.position != position:
                position, followed_until = self._page.position, now + _FOLLOWED
            reached = self._committed.reached(least)
            self._reached.update(reached)
            if now - stood_at >= _STOOD:
                stood_at = now
                self._trials.look(blocks)
                report = self._report(len(blocks))
            if reached or now == stood_at:
                for ear in self._ears:
                    ear.tell(report, reached)
            follows = least < position and now < followed_until
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), _CLOSE_LOOK if follows else _LOOK)

    def _report(self, workers: int) -> HostReport:
        """Without its projects."""
        standing = self._standing()
        return HostReport(
            behind={str(project): why for project, why in standing.behind},
            workers=workers,
            held=standing.held,
            source=standing.source,
            version=version(),
            started_at=self._started_at,
            canaries=self._trials.reports(),
        )


class _Ear:
    """One who is told, and what of it has arrived there."""

    def __init__(self, asker: Asker, host: str, reached: dict[ProjectId, int]) -> None:
        self._asker = asker
        self._host = host
        self._reached = reached
        self._unsaid: set[ProjectId] = set()
        self._number = 0  # of the next report; 0: all of it
        self._said = HostReport()
        self._report = HostReport()
        self._changed = asyncio.Event()
        self._log = structlog.get_logger("reports")

    def tell(self, report: HostReport, reached: dict[ProjectId, int]) -> None:
        self._report = report
        self._unsaid.update(reached)
        if reached or report != self._said:
            self._changed.set()

    async def run(self) -> None:
        retry = _RETRY
        await self._changed.wait()
        while True:
            self._changed.clear()
            if await self._send():
                retry = _RETRY
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), EVERY * random.uniform(0.8, 1.2))
            else:
                await asyncio.sleep(retry * random.uniform(0.5, 1.5))
                retry = min(_LONGEST_RETRY, 2 * retry)

    async def _send(self) -> bool:
        said = set(self._unsaid) if self._number else set(self._reached)
        numbers = {str(each): self._reached[each] for each in said}
        report = self._report
        body = msgspec.structs.replace(report, projects=numbers, number=self._number)
        try:
            status = await self._asker.report(self._host, body)
        except AskError as error:
            self._log.debug("a report did not arrive", upstream=self._asker.title, why=str(error))
            self._number = 0  # who knows what did
            return False
        if status != 204:
            self._log.debug("a report was refused", upstream=self._asker.title, status=status)
            incremental, self._number = self._number, 0
            return status == 409 and incremental > 0 and await self._send()  # to one who is new: all of it
        self._unsaid -= {each for each in said if self._reached[each] == numbers[str(each)]}
        self._number += 1
        self._said = report
        return True
