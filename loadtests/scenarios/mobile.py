"""Mobile clients that poll all their flags with the ETag they hold: nearly always 304, until the user's plan changes.

They have a client key, so flags that are not for clients must never be in an answer.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
from locust import constant_throughput, task

from benchmarks import flags
from loadtests.caller import Caller, keys
from loadtests.questions import BULK
from loadtests.tenants import FLAGS

Answers = dict[str, tuple[bool, str]]

NO_BODY = None, b"", ""


def expected(number: int) -> Answers:
    """What a client key sees for that context of the benchmarks: every second flag."""
    return {
        spec.key: answer
        for place, (spec, answer) in enumerate(zip(flags.specs(FLAGS), flags.answers(FLAGS)[number], strict=True))
        if place % 2 == 0
    }


class MobileClient(Caller):
    wait_time = constant_throughput(20)

    def on_start(self) -> None:
        self.turn_to(random.randrange(flags.CONTEXTS))
        self.tag = ""
        self.held: Answers = {}

    def turn_to(self, number: int) -> None:
        self.asking_as = flags.contexts()[number]
        self.wanted = expected(number)

    @task(20)
    def poll(self) -> None:
        self._poll("bulk, polled")

    @task(2)
    def poll_after_what_no_flag_reads_changed(self) -> None:
        self.asking_as = {**self.asking_as, "device": random.choice(("ios", "android")), "age": random.randrange(90)}
        self._poll("bulk, polled")

    @task(1)
    def become_somebody_else(self) -> None:
        self.turn_to(random.randrange(flags.CONTEXTS))
        self._poll("bulk, another user", same=False)

    def _poll(self, name: str, *, same: bool = True) -> None:
        def check(answer: Any) -> str | None:
            tag = answer.headers.get("ETag")
            if answer.status_code == 304:
                if answer.content not in NO_BODY:
                    return "a 304 with a body"
                if tag != self.tag:
                    return f"a 304 for {self.tag} that names {tag}"
                return None if self.held == self.wanted else "304, but the answer held is not right for this context"
            if same and self.tag:
                return "200, but nothing that a flag reads has changed"
            given = {
                each["key"]: (each["value"], each["reason"]) for each in msgspec.json.decode(answer.content)["flags"]
            }
            if given != self.wanted:
                return f"another answer: {given}"
            self.tag, self.held = tag, given
            return None

        headers = {"If-None-Match": self.tag} if self.tag else {}
        body = msgspec.json.encode({"context": self.asking_as})
        self.ask(name, BULK, body, keys()["edge"]["client"], check, status=(200, 304), headers=headers)
