"""Many small tenants, some asked often and most rarely: requests are spread over them by Zipf's law."""

from __future__ import annotations

import random
from functools import cache
from itertools import accumulate

from locust import constant_throughput, task

from loadtests.asking_who import Who
from loadtests.caller import keys

EXPONENT = 1.1  # the n-th tenant gets a share of 1 / n^1.1


@cache
def ranked() -> tuple[list[str], list[float]]:
    """The tenants, and their shares added up."""
    names = [name for name in keys() if name.startswith("t-")]
    return names, list(accumulate(1 / place**EXPONENT for place in range(1, len(names) + 1)))


class ManyTenants(Who):
    wait_time = constant_throughput(50)

    @task
    def ask_one_of_many(self) -> None:
        names, shares = ranked()
        [tenant] = random.choices(names, cum_weights=shares)
        self.who("small tenants", tenant)
