"""Services with an OpenFeature SDK and the OFREP provider: one flag for one context, again and again."""

from __future__ import annotations

import random

from locust import constant_throughput, task

from loadtests.caller import Caller, keys
from loadtests.questions import question


class OpenFeatureClient(Caller):
    wait_time = constant_throughput(50)

    @task
    def one_flag(self) -> None:
        key = keys()["edge"]["server"]
        asked = question("single", key, context=random.randrange(1_000))
        self.ask(
            "one flag",
            asked.path,
            asked.body,
            key,
            lambda answer: None if asked.is_right(answer.content) else f"another answer: {answer.content!r}",
        )


class Mistaken(Caller):
    """Somebody always has the name of a flag wrong."""

    fixed_count = 1
    wait_time = constant_throughput(5)

    @task
    def no_such_flag(self) -> None:
        self.ask(
            "no such flag",
            "/ofrep/v1/evaluate/flags/no-such-flag",
            b'{"context": {}}',
            keys()["edge"]["server"],
            lambda answer: None if b"FLAG_NOT_FOUND" in answer.content else f"another answer: {answer.content!r}",
            status=404,
        )
