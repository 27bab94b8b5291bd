"""Which record of a project each worker answers from: where it was committed in the journal, and where the worker is.

    committed.note([ProjectRecord("shop", "web", version=18)], position)
    committed.record_at(ProjectId("shop", "web"), worker.position)      the record with version 18, or the one before
    committed.reached(least)          {ProjectId("shop", "web"): 18}: what all have got to since the last call

Positions only grow (server/state/journal.py), so all workers have what the one furthest behind has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from server.shared.page import Block, Page
from server.state.records import Canary, ProjectRecord
from server.types import EnvironmentId, ProjectId

KEPT: Final = 4  # records of a project that are remembered for workers that are behind


class Committed:
    def __init__(self, position: int = 0, records: Iterable[ProjectRecord] = ()) -> None:
        """`records` are all in the journal up to `position`."""
        self._history: dict[ProjectId, tuple[tuple[int, ProjectRecord], ...]] = {}  # oldest first
        self._pending: deque[tuple[int, ProjectId, int]] = deque()  # in the order of positions
        self.trials: dict[EnvironmentId, Canary] = {}
        self.note(records, position)

    def note(self, records: Iterable[ProjectRecord], position: int) -> None:
        """Before workers are told. From one thread at a time; who reads meanwhile sees a project before it or after."""
        for each in records:
            self._history[each.id] = (*self._history.get(each.id, ())[1 - KEPT :], (position, each))
            self._pending.append((position, each.id, each.version))
            if len(self._pending) > 2 * len(self._history) + KEPT:  # nobody asks, or a worker is far behind
                latest = {project: (at, project, number) for at, project, number in tuple(self._pending)}
                self._pending = deque(sorted(latest.values()))
            running = {each.environment_id(one.published.name): one for one in each.canaries}
            ended = [one for one in self.trials if one.project_id == each.id and one not in running]
            self.trials = {**{one: of for one, of in self.trials.items() if one not in ended}, **running}

    def record_at(self, project: ProjectId, position: int) -> ProjectRecord | None:
        """What a worker at that position answers from; None where that is older than what is remembered."""
        return next((record for at, record in reversed(self._history.get(project, ())) if at <= position), None)

    def newest(self, project: ProjectId) -> ProjectRecord | None:
        history = self._history.get(project)
        return history[-1][1] if history else None

    def reached(self, least: int) -> dict[ProjectId, int]:
        """The projects that a position includes, and the calls before did not, each with its record's number."""
        found: dict[ProjectId, int] = {}
        pending = self._pending  # which another thread may replace: what is in both is found again, which says no more
        while pending and pending[0][0] <= least:
            _, project, number = pending.popleft()
            found[project] = number
        return found


def workers_of(page: Page) -> Iterator[Block]:
    """The processes that answer: the agent has a block, and no position."""
    blocks = (page.block(index) for index in range(page.block_count))
    return (each for each in blocks if each.pid and each.position)
