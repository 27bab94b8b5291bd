"""What Prometheus scrapes: base units, one prefix, and no label that names a tenant, an environment or a flag.

Counts of what is served are read from the store when somebody scrapes; the rest is counted as it happens.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from server.store import Store
from server.types import SourceState
from server.version import version

FAST = (
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1.0,
    5.0,
)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    def __init__(self, store: Store) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Gauge("burgee_build_info", "the running version", ["version"], registry=registry).labels(version()).set(1)
        self.requests = Counter("burgee_http_requests", "requests answered", ["route", "status"], registry=registry)
        self.request_seconds = Durations()
        registry.register(self.request_seconds)
        self.in_flight = Gauge("burgee_http_requests_in_flight", "requests being answered", registry=registry)
        self.refused_keys = Counter(
            "burgee_http_refused_keys", "requests refused for the key they presented", ["why"], registry=registry
        )
        self.reloads = Counter(
            "burgee_reloads", "sources that changed, by what came of it", ["source", "outcome"], registry=registry
        )
        self.compile_seconds = Histogram(
            "burgee_compile_duration_seconds", "one document, all environments", buckets=_SLOW, registry=registry
        )
        self.propagation_seconds = Histogram(
            "burgee_propagation_seconds",
            "from the change of a document's file to answers from it",
            buckets=_SLOW,
            registry=registry,
        )
        registry.register(_StoreCollector(store))

    def count(self, route: str, status: str, more: int) -> None:
        self.requests.labels(route, status).inc(more)


class Durations(Collector):
    """How long requests took, by route: a histogram that takes many observations at once.

    From the moment that a request is all there to its answer, for what the front answers; else from its head.
    """

    def __init__(self) -> None:
        self._routes: dict[str, tuple[list[int], float]] = {}  # how many in each bucket, the last unbounded; seconds

    def observe(self, route: str, seconds: float) -> None:
        counts = [0] * (len(FAST) + 1)
        counts[bisect_left(FAST, seconds)] = 1
        self.add(route, counts, seconds)

    def add(self, route: str, counts: Sequence[int], seconds: float) -> None:
        before, total = self._routes.get(route, ([0] * len(counts), 0.0))
        self._routes[route] = [a + b for a, b in zip(before, counts, strict=True)], total + seconds

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            "burgee_http_request_duration_seconds", "from a request to its answer", labels=["route"]
        )
        for route, (counts, total) in self._routes.items():
            below, buckets = 0, []
            for bound, count in zip([*map(str, FAST), "+Inf"], counts, strict=True):
                below += count
                buckets.append((bound, below))
            family.add_metric([route], buckets, total)
        yield family


class _StoreCollector(Collector):
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        store = self._store
        served, projects = store.environments.values(), store.projects.values()
        behind = [each.behind_since for each in projects if each.behind_since is not None]
        states = [each.state for each in projects]
        yield _gauge("burgee_tenants", "tenants with a project", len({each.tenant for each in store.projects}))
        yield _gauge("burgee_environments", "environments that are served", len(served))
        yield _gauge("burgee_keys", "keys that open something", store.key_count)
        yield _gauge("burgee_snapshot_bytes", "size of all snapshots", sum(each.snapshot.size for each in served))
        yield _gauge(
            "burgee_projects_stale", "projects served from their last good document", states.count(SourceState.STALE)
        )
        yield _gauge(
            "burgee_projects_broken", "projects that never had a good document", states.count(SourceState.BROKEN)
        )
        yield _gauge(
            "burgee_key_files_broken",
            "key files that cannot be read; their last good keys stay",
            sum(each.keys_problem is not None for each in projects),
        )
        yield _gauge(
            "burgee_oldest_age_seconds",
            "the longest that anything served has not been what its source says",
            time.monotonic() - min([*behind, store.confirmed_at]),
        )
        yield _gauge("burgee_ready", "1 when every project has been tried once", int(store.ready))


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)
