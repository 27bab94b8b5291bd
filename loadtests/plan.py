"""Which load scenarios there are: who asks, how many of them, of which tenants, and with which options of the server.

SCENARIOS["flood"]  ->  Scenario(file="scenarios/flood.py", users=12, group="flood", options=("--tenant-requests", …))
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    name: str
    says: str
    group: str  # of loadtests/tenants.py
    users: int
    options: tuple[str, ...] = ()  # of `burgee serve`

    @property
    def file(self) -> str:
        return f"scenarios/{self.name}.py"


SCENARIOS = {
    each.name: each
    for each in (
        Scenario("edge", "edge proxies send batches of 100 contexts for 20 flags", "edge", 8),
        Scenario("single", "OpenFeature clients ask for one flag", "edge", 12),
        Scenario("mobile", "mobile clients poll all flags with an ETag", "edge", 20),
        Scenario("flood", "one tenant floods, others go steadily", "flood", 12, ("--tenant-requests", "100")),
        Scenario("spike", "ten times the load for a third of the time", "edge", 20),
        Scenario("reload", "documents are rewritten while they are asked", "reload", 8, ("--poll-interval", "0.05")),
        Scenario("tenants", "many small tenants, by Zipf's law", "tenants", 10),
    )
}
