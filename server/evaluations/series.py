"""Series for chosen environments: how often they were asked, how old they are, and what their flags answered.

    --metrics-environments "shop/web/production,bank/*"  --metrics-top 10  --metrics-flags "shop/web/production"

By default there is none. INVARIANT: never more than MOST_SERIES, however many tenants there are.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from functools import lru_cache
from heapq import nlargest

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from server.evaluations.flags import environment_of, published_of
from server.evaluations.messages import Counted
from server.state.store import Store

MOST_SERIES = 10_000
MOST_REMEMBERED = 100_000  # series that are known to be left out, to say how many
PER_ENVIRONMENT = 3  # series


class EnvironmentSeries(Collector):
    def __init__(self, store: Store, *, environments: str, top: int, flags: str) -> None:
        self._store = store
        self._wanted = _pattern(environments)
        self._flags_wanted = _pattern(flags)
        self._top = top
        self._evaluations: dict[str, int] = {}
        self._flags: dict[tuple[str, str, str], int] = {}
        self._left_out: set[int] = set()
        self._is_wanted = lru_cache(1 << 16)(lambda name: self._wanted.fullmatch(name) is not None)

    def hear(self, message: Counted) -> None:
        for name, rows in message.environments:
            if self._top or self._is_wanted(name):
                self._evaluations[name] = self._evaluations.get(name, 0) + sum(count for _, _, count in rows)
            if self._flags_wanted.fullmatch(name):
                for flag, variant, count in rows:
                    series = name, flag, variant or ""
                    if series in self._flags or len(self._flags) < MOST_SERIES:
                        self._flags[series] = self._flags.get(series, 0) + count
                    elif len(self._left_out) < MOST_REMEMBERED:
                        self._left_out.add(hash(series))

    def collect(self) -> Iterator[Metric]:
        there = [
            f"{project}/{each.name}"
            for project in self._store.projects
            for each in self._store.record(project).environments
        ]
        if len(self._evaluations) > 2 * len(there) + 1000:  # environments that are gone
            self._evaluations = {name: self._evaluations[name] for name in there if name in self._evaluations}
        wanted = sorted(name for name in there if self._is_wanted(name))
        chosen = set(wanted)
        busiest = nlargest(self._top, self._evaluations.items(), key=lambda each: each[1])
        names = [*wanted, *(name for name, _ in busiest if name not in chosen)]
        shown = names[: MOST_SERIES // PER_ENVIRONMENT]
        yield from self._environments(shown)
        room = MOST_SERIES - PER_ENVIRONMENT * len(shown)
        flags = CounterMetricFamily(
            "burgee_flag_evaluations", "by what they answered", labels=["environment", "flag", "variant"]
        )
        for series, count in list(self._flags.items())[:room]:
            flags.add_metric(series, count)
        yield flags
        left_out = PER_ENVIRONMENT * (len(names) - len(shown)) + max(0, len(self._flags) - room) + len(self._left_out)
        yield GaugeMetricFamily(
            "burgee_series_left_out", f"series beyond {MOST_SERIES}, which are not shown", value=left_out
        )

    def _environments(self, names: list[str]) -> Iterator[Metric]:
        evaluations = CounterMetricFamily("burgee_environment_evaluations", "flag evaluations", labels=["environment"])
        age = GaugeMetricFamily(
            "burgee_environment_age_seconds",
            "since it was last known to be what its source says",
            labels=["environment"],
        )
        version = GaugeMetricFamily("burgee_environment_version", "that is served", labels=["environment"])
        for name in names:
            evaluations.add_metric([name], self._evaluations.get(name, 0))
            environment = environment_of(name)
            published = published_of(self._store, environment) if environment else None
            if environment is not None and published is not None:
                age.add_metric([name], self._store.age_of(environment.project_id))
                version.add_metric([name], published.version)
        yield from (evaluations, age, version)


def _pattern(globs: str) -> re.Pattern[str]:
    """
    >>> _pattern("shop/web/production, bank/*").fullmatch("bank/mobile/test") is not None
    True
    >>> _pattern("").fullmatch("bank/mobile/test") is None
    True
    """
    wanted = [each.strip() for each in globs.split(",") if each.strip()]
    return re.compile("|".join(fnmatch.translate(each) for each in wanted) or r"(?!)")
