"""Ten times the load from one second to the next, for a third of the time: no answer may fail, then or afterwards."""

from __future__ import annotations

from locust import LoadTestShape

from loadtests.scenarios.single import OpenFeatureClient

BASE = 2  # users
TIMES = 10

__all__ = ["OpenFeatureClient", "Spike"]


class Spike(LoadTestShape):
    """Before, spike and after share the run time (`--run-time`) equally."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        whole = self.runner.environment.parsed_options.run_time or 30
        now = self.get_run_time()
        if now >= whole:
            return None
        during = whole / 3 <= now < 2 * whole / 3
        return (BASE * TIMES if during else BASE), 1000.0
