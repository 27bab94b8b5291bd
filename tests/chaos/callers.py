"""Callers that ask for generations all the time, each over one connection, hence of one worker.

with calling(address, key, history, callers=4):
    …                          whatever happens to the server meanwhile

An evaluation is lost when it has no right answer within PATIENCE. A connection that breaks is a lost evaluation too,
but while a worker is being killed on purpose: then it is asked again, and who answers then is another caller.
"""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.chaos.generations import Seen, asked, seen_in
from tests.chaos.history import Answer, History

PATIENCE = 10.0  # seconds for an answer: bounds a hang, measures no speed
MOST_LOST = 50  # evaluations of a caller, after which it is plain

_numbers = itertools.count()


@dataclass
class Caller:
    address: tuple[str, int]
    key: str
    history: History
    host: str = ""
    pause: float = 0.02  # seconds between two requests
    number: int = field(default_factory=lambda: next(_numbers))
    likely: int = 0
    killing: threading.Event = field(default_factory=threading.Event)  # a worker is being killed on purpose
    longest: float = 0.0  # seconds from asking to the answer, connections that broke included
    _connection: http.client.HTTPConnection | None = None

    def work(self, stop: threading.Event) -> None:
        lost = 0
        while not stop.is_set() and lost < MOST_LOST:
            before = len(self.history.failed)
            self.ask(stop)
            lost += len(self.history.failed) > before
            time.sleep(self.pause)
        self._close()

    def ask(self, stop: threading.Event | None = None) -> Answer | None:
        """Until there is an answer, or none in time."""
        began = time.monotonic()
        while True:
            try:
                answer = self._ask()
            except (OSError, http.client.HTTPException) as error:
                self._close()
                why = f"{type(error).__name__}: {error} at {time.monotonic():.2f}"
                if not self.killing.is_set() or time.monotonic() > began + PATIENCE:
                    self.history.failed.append(why)
                    return None
                if stop is not None and stop.is_set():
                    return None
                time.sleep(0.01)
            else:
                self.longest = max(self.longest, time.monotonic() - began)
                return answer

    def _ask(self) -> Answer | None:
        """Raises OSError, HTTPException."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
            self.number = next(_numbers)
        likely, asked_at = self.likely, time.monotonic()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        self._connection.request("POST", "/v1/evaluate", asked(likely), headers)
        reply = self._connection.getresponse()
        body, came_at = reply.read(), time.monotonic()
        if reply.status != 200:
            self.history.failed.append(f"{reply.status} at {came_at:.2f}: {body[:200]!r}")
            return None
        seen = seen_in(body, likely)
        if not isinstance(seen, Seen):
            self.history.torn.append(f"{seen.why} at {came_at:.2f}")
            return None
        answer = Answer(self.number, asked_at, came_at, seen.generation, seen.version, self.host)
        self.history.answers.append(answer)
        self.likely = seen.generation + (answer.asked_at * 1000 % 2 > 1)  # now the one that is served, now the next
        return answer

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@contextmanager
def calling(
    address: tuple[str, int], key: str, history: History, *, host: str = "", callers: int = 4
) -> Iterator[list[Caller]]:
    stop = threading.Event()
    made = [Caller(address, key, history, host) for _ in range(callers)]
    threads = [threading.Thread(target=each.work, args=(stop,), daemon=True) for each in made]
    for each in threads:
        each.start()
    try:
        yield made
    finally:
        stop.set()
        for each in threads:
            each.join(PATIENCE + 5)
        if any(each.is_alive() for each in threads):
            history.failed.append("a caller hangs")
