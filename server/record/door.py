"""Who goes to the database now: as many as there are connections, and, while it is down, one at a time to look.

    async with door:                          waits for its turn
        raise door.shut(error)                it was not to be had: others get this error at once, for half a second
        door.open()                           it was

So a database that comes back is found within half a second, and not run over by everybody at once.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from server.record.failures import RecordUnavailableError

_TURN: Final = 10.0  # seconds for a turn
_REST: Final = 0.5  # seconds between looks
_LOOK: Final = 2.5  # seconds for a look to end


class Door:
    def __init__(self, width: int) -> None:
        self._free = asyncio.Semaphore(width)
        self._why: str | None = None  # it is shut
        self._look_at = 0.0

    async def __aenter__(self) -> None:
        self._refuse()
        try:
            await asyncio.wait_for(self._free.acquire(), _TURN)
        except TimeoutError:
            raise RecordUnavailableError(f"the record is busy: no turn in {_TURN:.0f} s") from None
        try:
            self._refuse()
        except RecordUnavailableError:
            self._free.release()
            raise
        if self._why is not None:  # this one looks
            self._look_at = time.monotonic() + _LOOK

    async def __aexit__(self, *_: object) -> None:
        self._free.release()

    def open(self) -> None:
        self._why = None

    def shut(self, error: RecordUnavailableError) -> RecordUnavailableError:
        self._why, self._look_at = str(error), time.monotonic() + _REST
        return error

    def _refuse(self) -> None:
        if self._why is not None and time.monotonic() < self._look_at:
            raise RecordUnavailableError(self._why)
