"""Who is to hear that a project changed: the relay, and hosts that listen for events.

    feed.changed(ProjectId("shop", "web"), 18)       after the commit; never before
    async for changed in feed.listen(): …            Changed(project="shop/web", number=18)

A listener that falls behind hears only the newest of each project, and one that missed everything compares the
listing: what is heard here is a hint to look, never the change itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from server.sync.messages import Changed
from server.types import ProjectId


class Feed:
    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()

    def changed(self, project: ProjectId, number: int) -> None:
        for each in self._listeners:
            each.tell(str(project), number)

    async def listen(self) -> AsyncIterator[Changed]:
        listener = _Listener()
        self._listeners.add(listener)
        try:
            while True:
                yield await listener.next()
        finally:
            self._listeners.discard(listener)


class _Listener:
    def __init__(self) -> None:
        self._waiting: dict[str, int] = {}
        self._some = asyncio.Event()

    def tell(self, project: str, number: int) -> None:
        self._waiting[project] = max(number, self._waiting.get(project, 0))
        self._some.set()

    async def next(self) -> Changed:
        await self._some.wait()
        project = next(iter(self._waiting))
        changed = Changed(project, self._waiting.pop(project))
        if not self._waiting:
            self._some.clear()
        return changed
