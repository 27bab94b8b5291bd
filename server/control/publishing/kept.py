"""Documents that were read lately, in parts, so that a publish reads only what has changed since.

    await kept.working(tx, project)               (41, {("flag", "checkout"): b"{…}", …})     of 1,000 rows, one is read
    await kept.published(tx, project, digest)     Document(…), where it has not been forgotten: nothing

Right with however many control planes: what is kept is looked up by numbers that the same transaction reads.

INVARIANT: a row's revision is what `edited` was at its change. So the parts of revision 40, with the rows above 40, are
those of 41; unless something was deleted, and then there are fewer rows, and all of them are read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Final

from server.control.publishing.documents import Document, Part, taken_apart
from server.record.database import Transaction, epoch_of
from server.record.definitions import bodies_of, count_all, edited_of
from server.record.versions import document_of
from server.types import ProjectId

MOST_BYTES: Final = 64 << 20  # of all that is kept


class KeptDocuments:
    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, tuple[int, Any]] = OrderedDict()  # the least lately used first

    async def working(self, tx: Transaction, project: ProjectId) -> tuple[int, dict[Part, bytes]]:
        """The working copy's revision, and its parts, which are not to be changed. Raises LookupError."""
        edited, place = await edited_of(tx, project), ("working", project, await epoch_of(tx))
        found: tuple[int, dict[Part, bytes]] | None = self._get(place)
        if found is not None and found[0] <= edited:
            since, parts = found
            if since < edited:
                parts = {**parts, **await bodies_of(tx, project, above=since)}
                if len(parts) != await count_all(tx, project):
                    parts = await bodies_of(tx, project)
        else:
            parts = await bodies_of(tx, project)
        self._put(place, (edited, parts), parts)
        return edited, parts

    async def published(self, tx: Transaction, project: ProjectId, digest: str) -> Document | None:
        """None where it is not in the record."""
        found: Document | None = self._get((project, digest))
        if found is None:
            content = await document_of(tx, project, digest)
            if content is None:
                return None
            found = taken_apart(content)
            self.keep(project, digest, found)
        return found

    def keep(self, project: ProjectId, digest: str, document: Document) -> None:
        """It will be asked for."""
        self._put((project, digest), document, document.parts)

    def _get(self, place: Hashable) -> Any:
        found = self._kept.get(place)
        if found is None:
            return None
        self._kept.move_to_end(place)
        return found[1]

    def _put(self, place: Hashable, value: Any, parts: Any) -> None:
        size = sum(map(len, parts.values()))
        self._bytes += size - self._kept.pop(place, (0, None))[0]
        self._kept[place] = size, value
        while self._bytes > self._most_bytes:
            _, (freed, _) = self._kept.popitem(last=False)
            self._bytes -= freed
