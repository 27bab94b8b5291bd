"""Callers that ask for generations all the time, each over one connection, hence of one worker.

with calling(address, key, history, callers=4):
    …                          whatever happens to the server meanwhile

An evaluation fails when it has no right answer within PATIENCE. A connection that broke is opened again: another worker
may answer, so this is another caller in the history.
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

PATIENCE = 5.0  # seconds for an answer: bounds a hang, measures no speed

_numbers = itertools.count()


@dataclass
class Caller:
    address: tuple[str, int]
    key: str
    history: History
    pause: float = 0.005  # seconds between two requests
    number: int = field(default_factory=lambda: next(_numbers))
    likely: int = 0
    killed: threading.Event = field(default_factory=threading.Event)  # a worker is being killed on purpose

    def work(self, stop: threading.Event) -> None:
        connection: http.client.HTTPConnection | None = None
        while not stop.is_set():
            if connection is None:
                connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
                self.number = next(_numbers)
            try:
                self.ask(connection)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                connection = None
                if not self.killed.is_set():
                    self.history.failed.append(f"{type(error).__name__} at {time.monotonic():.2f}")
            time.sleep(self.pause)
        if connection is not None:
            connection.close()

    def ask(self, connection: http.client.HTTPConnection) -> Answer | None:
        """Raises OSError, HTTPException."""
        likely, asked_at = self.likely, time.monotonic()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/evaluate", asked(likely), headers)
        reply = connection.getresponse()
        body, came_at = reply.read(), time.monotonic()
        if reply.status != 200:
            self.history.failed.append(f"{reply.status} at {came_at:.2f}: {body[:200]!r}")
            return None
        seen = seen_in(body, likely)
        if not isinstance(seen, Seen):
            self.history.torn.append(f"{seen.why} at {came_at:.2f}")
            return None
        answer = Answer(self.number, asked_at, came_at, seen.generation, seen.version)
        self.history.answers.append(answer)
        self.likely = seen.generation + (answer.asked_at * 1000 % 2 > 1)  # now the one that is served, now the next
        return answer


@contextmanager
def calling(address: tuple[str, int], key: str, history: History, *, callers: int = 4) -> Iterator[list[Caller]]:
    stop = threading.Event()
    made = [Caller(address, key, history) for _ in range(callers)]
    threads = [threading.Thread(target=each.work, args=(stop,), daemon=True) for each in made]
    for each in threads:
        each.start()
    try:
        yield made
    finally:
        stop.set()
        for each in threads:
            each.join(PATIENCE + 5)
