"""A worker's counts on their way to the agent: taken from the engine, held together, sent when the door takes them.

    snapshot.take_counts() -> [("checkout", "new", 41), …]  ->  kept  ->  messages through the door

The engine counts; this looks every few seconds at the snapshots that were asked something since, in slices so that no
request waits for it. While the door is full (the agent is being replaced, or its disk is) the counts stay where they
are, in the engine. Only a snapshot that is let go has to hand its counts over at once: those are kept here, up to
MOST_KEPT rows; what is more is lost, and said to be.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable

import structlog

from server.evaluations.messages import LARGEST, Counted, Row, encoded
from server.shared.page import Block
from server.state.catalog import Catalog, Served

LOOK = 1.0  # seconds between two looks where nothing but the totals is wanted
SLICE = 0.001  # seconds of work at a time
PAUSE = 0.01  # seconds between slices, and until a full door is tried again
MOST_KEPT = 50_000  # rows
ENOUGH = 1_000  # rows that are sent before more are taken
FINISH = 2.0  # seconds for the last counts of a process that leaves


class Tally:
    def __init__(
        self, catalog: Catalog, block: Block, door: socket.socket, interval: float, lost_events: Callable[[], int]
    ) -> None:
        """`interval`: seconds; 0 counts nothing per flag. `lost_events`: of telemetry, since it was last asked."""
        self._catalog = catalog
        self._block = block
        self._door = door
        self._interval = interval
        self._lost_events = lost_events
        self._worker = secrets.randbits(62)
        self._number = 0
        self._kept: dict[tuple[str, int], dict[tuple[str, str | None], int]] = {}  # by environment and version
        self._rows = 0
        self._lost = 0
        self._unsent: bytes | None = None
        self._log = structlog.get_logger("evaluations")
        catalog.on_let_go(self._let_go)
        if interval:
            catalog.on_map(lambda served: served.snapshot.start_counting())

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._interval or LOOK)
            try:
                await self._look(give_up=time.monotonic() + self._interval)
            except Exception:  # counts are not a reason to stop counting
                self._log.exception("a look at the counts failed")

    async def finish(self) -> None:
        """The last counts of this process, when it answers no more."""
        await self._look(give_up=time.monotonic() + FINISH, at_a_time=FINISH)
        if self._rows or self._unsent:
            self._log.warning("the last counts found no way to the agent", rows=self._rows)

    async def _look(self, give_up: float, at_a_time: float = SLICE) -> None:
        """At all snapshots; what does not go through the door before `give_up` is for the next look."""
        began, stuck = time.perf_counter(), False
        for served in self._catalog.mapped():
            self._sum(served)
            if served.counted != served.snapshot.evaluated and not stuck:
                self._take(served)
                if self._rows >= ENOUGH:
                    stuck = not await self._send_until(give_up)
            if time.perf_counter() - began > at_a_time:
                await asyncio.sleep(PAUSE)
                began = time.perf_counter()
        if not stuck:
            await self._send_until(give_up)

    def _sum(self, served: Served) -> None:
        evaluated = served.snapshot.evaluated
        self._block.evaluations += evaluated - served.summed
        served.summed = evaluated

    def _take(self, served: Served) -> None:
        served.counted = served.snapshot.evaluated
        counts = served.snapshot.take_counts()
        if not counts:
            return
        kept = self._kept.setdefault((str(served.id), served.published.version), {})
        for flag, variant, count in counts:
            before = kept.get((flag, variant))
            if before is None:
                if self._rows >= MOST_KEPT:
                    self._lost += count
                    continue
                self._rows += 1
            kept[flag, variant] = (before or 0) + count

    def _let_go(self, served: Served) -> None:
        """Within a request: it must not fail for this."""
        try:
            self._sum(served)
            self._take(served)
            if self._rows >= ENOUGH:
                self._send()
        except Exception:
            self._log.exception("counts were lost", environment=str(served.id))

    async def _send_until(self, give_up: float) -> bool:
        while not self._send():
            if time.monotonic() > give_up:
                return False
            await asyncio.sleep(PAUSE)
        return True

    def _send(self) -> bool:
        """All that is kept, or False."""
        while True:
            if self._unsent is None:
                self._unsent = self._next()
            if self._unsent is None:
                return True
            try:
                self._door.send(self._unsent)
            except OSError:  # it is full
                return False
            self._unsent = None

    def _next(self) -> bytes | None:
        """A message with as much of what is kept as it takes."""
        environments: list[tuple[str, tuple[Row, ...]]] = []
        versions: list[int] = []
        size, lost, lost_events = 0, self._lost, self._lost_events()
        while self._kept and size < LARGEST // 2:
            (name, version), counts = next(iter(self._kept.items()))
            size += len(name)
            rows: list[Row] = []
            while counts and size < LARGEST // 2:
                (flag, variant), count = counts.popitem()
                rows.append((flag, variant, count))
                size += len(flag) + len(variant or "") + 16
            if not counts:
                del self._kept[name, version]
            self._rows -= len(rows)
            environments.append((name, tuple(rows)))
            versions.append(version)
        if not environments and not lost and not lost_events:
            return None
        self._lost = 0
        self._number += 1
        counted = Counted(
            self._worker, self._number, int(time.time()), tuple(environments), lost, lost_events, tuple(versions)
        )
        return encoded(counted)
