"""One who publishes generation after generation through the admin API, whatever happens to it meanwhile.

    with Publisher(address, key, published).publishing():
        …                                  published: [Publish(1, …, version=1), Publish(2, …, version=2), …]

A connection that broke, a 503 or a time-out says nothing of whether it happened: the same request is sent again, with
the same Idempotency-Key, until there is an answer. So each generation is published exactly once.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.chaos.generations import document_of
from tests.chaos.history import Publish

PATIENCE = 10.0  # seconds for one answer
LATER = frozenset({408, 425, 429, 502, 503, 504})  # statuses that say nothing
PROJECT = "/api/v1/tenants/shop/projects/web"
ENVIRONMENT = f"{PROJECT}/environments/production"


class WrongError(AssertionError):
    """An answer that nothing explains: there is one publisher."""


@dataclass
class Publisher:
    address: tuple[str, int]
    key: str
    published: list[Publish]
    pause: float = 0.02  # seconds between two generations
    wrong: list[str] = field(default_factory=list)
    tried_again: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _given_up: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _connection: http.client.HTTPConnection | None = None

    @contextmanager
    def publishing(self) -> Iterator[None]:
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        try:
            yield
        finally:
            self._given_up.set()
            self.stop()

    def stop(self) -> None:
        """After the generation that is under way; raises WrongError for answers that were wrong."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(120)
            assert not self._thread.is_alive(), "the publisher waits for an answer for ever"
        if self.wrong:
            raise WrongError("; ".join(self.wrong))

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                self.publish(self.published[-1].generation + 1)
                time.sleep(self.pause)
        except WrongError as error:
            self.wrong.append(str(error))
        finally:
            self._close()

    def publish(self, generation: int) -> Publish | None:
        """Raises WrongError. None: it was given up, and may have happened."""
        entry = Publish(generation, time.monotonic())
        self.published.append(entry)
        if not self._put(document_of(generation)):
            return None
        version = self.version()
        headers = {"If-Match": f'"{version}"', "Idempotency-Key": uuid.uuid4().hex}
        status, _, body = self.ask("POST", f"{ENVIRONMENT}/publish", {"message": f"generation {generation}"}, headers)
        if status == 0:
            return None
        if status not in (200, 201):
            raise WrongError(f"publishing generation {generation} onto {version}: {status} {body}")
        done = replace(entry, acknowledged_at=time.monotonic(), version=body["version"])
        self.published[self.published.index(entry)] = done
        return done

    def version(self) -> int:
        """The environment's newest; 0 once it was given up."""
        status, _, body = self.ask("GET", ENVIRONMENT)
        return int(body["version"]) if status == 200 else 0

    def _put(self, document: Mapping[str, Any]) -> bool:
        """Once or several times: it is the same afterwards."""
        while True:
            status, headers, _ = self.ask("GET", f"{PROJECT}/document")
            if status == 0:
                return False
            status, _, body = self.ask("PUT", f"{PROJECT}/document", document, {"If-Match": headers["ETag"]})
            if status in (200, 204):
                return True
            if status == 0:
                return False
            if status != 412:  # 412: the one before it, which was not answered, happened
                raise WrongError(f"the document: {status} {body}")

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], Any]:
        """The first answer that says something. Status 0: it was given up."""
        while not self._given_up.is_set():
            try:
                status, found, content = self._ask(method, path, body, headers or {})
            except (OSError, http.client.HTTPException):
                self._close()
                status = 503
            if status not in LATER:
                return status, found, json.loads(content) if content else None
            self.tried_again += 1
            time.sleep(0.05)
        return 0, {}, None

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
        sent = {"Authorization": f"Bearer {self.key}", **headers}
        content = None
        if body is not None:
            content, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        self._connection.request(method, path, content, sent)
        reply = self._connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
