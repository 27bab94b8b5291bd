"""A document that is rewritten all the time while it is asked: no answer mixes two versions, none goes back.

All flags of a document have the same number for their value (`tenants.numbered`), and each rewrite has a higher one.
The publisher writes into the folder that the server reads, so it must be on this machine.
"""

from __future__ import annotations

import random
import time
from typing import Any

import gevent
import msgspec
from locust import constant, constant_throughput, task

from loadtests.caller import Caller, folder, keys
from loadtests.questions import BATCH, BULK
from loadtests.tenants import RELOADED, numbered, write_document

TENANT = "reloaded"
PATIENCE = 60.0  # seconds until an answer with the new number is given up


def bulk_numbers(answer: Any) -> list[int]:
    return [each["value"] for each in msgspec.json.decode(answer.content)["flags"]]


def batch_numbers(answer: Any) -> list[int]:
    """The outcomes of all flags too: those that nobody got are of a version as well."""
    given = msgspec.json.decode(answer.content)
    return [outcome["value"] for outcomes in given["outcomes"] for outcome in outcomes]


class Reader(Caller):
    wait_time = constant_throughput(40)

    def on_start(self) -> None:
        self.newest = (0, 0)  # version and number of the last answer

    @task(3)
    def bulk(self) -> None:
        body = msgspec.json.encode({"context": {"targetingKey": "u", "age": random.randrange(60)}})
        self._ask("bulk while reloading", BULK, body, bulk_numbers)

    @task(1)
    def batch(self) -> None:
        contexts = [{"targetingKey": "u", "age": age} for age in range(60)]
        body = msgspec.json.encode({"contexts": contexts, "format": "compact"})
        self._ask("batch while reloading", BATCH, body, batch_numbers)

    def _ask(self, name: str, path: str, body: bytes, numbers_of: Any) -> None:
        def check(answer: Any) -> str | None:
            numbers = numbers_of(answer)
            version = int(answer.headers["Burgee-Version"])
            if len(numbers) < RELOADED or len(set(numbers)) != 1:
                return f"numbers of several versions: {numbers}"
            if msgspec.json.decode(answer.content)["metadata"]["version"] != str(version):
                return "the header names another version than the body"
            was, self.newest = self.newest, (version, numbers[0])
            if (version == was[0]) != (numbers[0] == was[1]) and was != (0, 0):
                return f"version {was[0]} said {was[1]}, {version} says {numbers[0]}"
            return f"back from {was} to {self.newest}" if self.newest < was else None

        self.ask(name, path, body, keys()[TENANT]["server"], check)


class Publisher(Caller):
    """Its "publish" is the time from the rename to the first answer with the new number."""

    fixed_count = 1
    wait_time = constant(0.05)
    number = 0

    @task
    def publish(self) -> None:
        Publisher.number += 1
        write_document(folder() / "tenants", TENANT, numbered(Publisher.number))
        started, error = time.perf_counter(), None
        while self._answered() < Publisher.number:
            if time.perf_counter() - started > PATIENCE:
                error = f"number {Publisher.number} was not answered within {PATIENCE:.0f} s"
                break
            gevent.sleep(0.01)
        self.environment.events.request.fire(
            request_type="PUBLISH",
            name="publish to answer",
            response_time=(time.perf_counter() - started) * 1e3,
            response_length=0,
            exception=error,
            context={},
        )

    def _answered(self) -> int:
        answer = self.ask("publisher looks", BULK, b'{"context":{}}', keys()[TENANT]["server"], lambda answer: None)
        return max(bulk_numbers(answer)) if answer.status_code == 200 else -1
