"""Edge proxies: each sends batches of 100 contexts for 20 flags, compact, and gets them in JSON or in MessagePack."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import msgspec
from locust import constant_throughput, task

from benchmarks import flags
from loadtests.caller import Caller, keys
from loadtests.questions import BATCH, CONTEXTS, FLAGS, Question, compact_values, question

BATCHES = flags.CONTEXTS // CONTEXTS


@cache
def batch(number: int) -> tuple[Question, list[list[bool]]]:
    """A batch, and the values that are right: per context and flag."""
    first = number * CONTEXTS
    rows = flags.answers(FLAGS)[first : first + CONTEXTS]
    return question("batch", keys()["edge"]["server"], context=first), [[value for value, _ in row] for row in rows]


class EdgeProxy(Caller):
    wait_time = constant_throughput(20)

    @task
    def in_json(self) -> None:
        self._batch("batch 100x20, JSON", "application/json", msgspec.json.decode)

    @task
    def in_message_pack(self) -> None:
        self._batch("batch 100x20, MessagePack", "application/msgpack", msgspec.msgpack.decode)

    def _batch(self, name: str, kind: str, decode: Any) -> None:
        asked, wanted = batch(random.randrange(BATCHES))

        def check(answer: Any) -> str | None:
            if not answer.headers["Content-Type"].startswith(kind):
                return f"a reply in {answer.headers['Content-Type']}"
            return None if compact_values(decode(answer.content)) == wanted else "another answer"

        self.ask(name, BATCH, asked.body, keys()["edge"]["server"], check, headers={"Accept": kind})
