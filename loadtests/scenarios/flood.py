"""One tenant sends as much as it can while others go steadily: who is over the limit gets 429, nobody else notices."""

from __future__ import annotations

import random

from locust import constant, constant_throughput, task

from loadtests.asking_who import Who
from loadtests.tenants import STEADY


class SteadyTenant(Who):
    weight = 2
    wait_time = constant_throughput(10)

    @task
    def ask_steadily(self) -> None:
        self.who("steady tenants", f"steady-{random.randrange(STEADY)}")


class FloodingTenant(Who):
    weight = 1
    wait_time = constant(0)

    @task
    def flood(self) -> None:
        self.who("the tenant that floods", "noisy", may_be_refused=True)
