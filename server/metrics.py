"""What Prometheus scrapes: base units, one prefix, and no label that names a tenant, an environment or a flag.

Labels of environments and flags are there only where the operator asks for them: server/evaluations/series.py.

The agent answers for all processes. Workers count in the shared page, where counts outlive them; what the agent does
itself it counts as it happens; what is served is read from the store when somebody scrapes.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from server.shared.page import BOUNDS, KEY_REASONS, LIMITS, ROUTE_NAMES, Block, Page
from server.state.store import Store
from server.types import SourceState
from server.version import version

Key = TypeVar("Key")

REFUSALS = ("digest", "verify", "too_large", "backwards", "unreadable", "disk")

_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PROPAGATION = (0.001, 0.0025, 0.005, *_SLOW)

# What can be said of a request is there from the start, with 0: a series that appears with its first event has no rate
# for it, and how many there are does not depend on what is asked.
_GUARDED = (200, 401, 403, 429, 500, 503)  # of every route that asks for a key
_WITH_BODY = (*_GUARDED, 400, 408, 413, 415)
ANSWERS: Mapping[str, tuple[int, ...]] = {
    "evaluate": _WITH_BODY,
    "ofrep_flags": (*_WITH_BODY, 304),
    "ofrep_flag": (*_WITH_BODY, 404),
    "ofrep_events": (*_GUARDED, 400),
    "none": (204, 403, 404, 405, 500),  # no such path or method, and preflights
}


class AgentMetrics:
    def __init__(self, store: Store, page: Page) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Gauge("burgee_build_info", "the running version", ["version"], registry=registry).labels(version()).set(1)
        self.reloads = Counter(
            "burgee_reloads", "sources that changed, by what came of it", ["source", "outcome"], registry=registry
        )
        for each in itertools.product(("document", "keys"), ("installed", "refused")):
            self.reloads.labels(*each)
        self.compile_seconds = Histogram(
            "burgee_compile_duration_seconds", "one document, all environments", buckets=_SLOW, registry=registry
        )
        self.propagation_seconds = Histogram(
            "burgee_propagation_seconds",
            "from the change of a document's file, or a publish, to every worker being able to see it",
            buckets=_PROPAGATION,
            registry=registry,
        )
        self.lost_counts = Counter(
            "burgee_evaluation_counts_lost", "evaluations that are in no count per flag", registry=registry
        )
        self.count_failures = Counter(
            "burgee_evaluation_counts_failures", "writes of counts that failed", registry=registry
        )
        self.lost_events = Counter(
            "burgee_telemetry_lost", "OpenTelemetry events that did not arrive", registry=registry
        )
        self.sync_refused = Counter(
            "burgee_sync_refused", "records from elsewhere that were not installed", ["reason"], registry=registry
        )
        for reason in REFUSALS:
            self.sync_refused.labels(reason)
        self.sync_fetched = Counter("burgee_sync_fetched", "snapshots fetched", ["source"], registry=registry)
        self.sync_gaps = Counter(
            "burgee_sync_gaps", "records that came without the ones before them; nothing is lost", registry=registry
        )
        self.sync_missing = Counter(
            "burgee_sync_missing", "projects that a source lists no more; they are kept", registry=registry
        )
        self.canary_complaints = Counter(
            "burgee_canary_complaints", "canaries that fare worse here than what is live", registry=registry
        )
        registry.register(_StoreCollector(store))
        registry.register(_WorkersCollector(page))


class _StoreCollector(Collector):
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        store = self._store
        projects = store.projects
        published = [each for project in projects for each in store.record(project).environments]
        behind = [each.behind_since for each in projects.values() if each.behind_since is not None]
        states = [each.state for each in projects.values()]
        yield _gauge("burgee_tenants", "tenants with a project", len({each.tenant for each in projects}))
        yield _gauge("burgee_environments", "environments that are served", len(published))
        yield _gauge("burgee_keys", "keys that open something", store.key_count)
        yield _gauge("burgee_snapshot_bytes", "size of all snapshots on disk", sum(each.size for each in published))
        yield _gauge(
            "burgee_projects_stale", "projects served from their last good document", states.count(SourceState.STALE)
        )
        yield _gauge(
            "burgee_projects_broken", "projects that never had a good document", states.count(SourceState.BROKEN)
        )
        yield _gauge(
            "burgee_key_files_broken",
            "key files that cannot be read; their last good keys stay",
            sum(each.keys_problem is not None for each in projects.values()),
        )
        yield _gauge(
            "burgee_oldest_age_seconds",
            "the longest that anything served has not been what its source says",
            time.monotonic() - min([*behind, store.confirmed_at]),
        )
        running = [each for project in projects for each in store.record(project).canaries]
        yield _gauge("burgee_canaries", "environments with a version that some workers try", len(running))
        yield _gauge("burgee_held", "1 while nothing is installed, whatever is published", int(store.held()))
        yield _gauge("burgee_ready", "1 when every project has been tried once", int(store.ready))


class _WorkersCollector(Collector):
    """Sums over the blocks of the shared page."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def collect(self) -> Iterator[Metric]:
        blocks = [self._page.block(index) for index in range(self._page.block_count)]
        # The agent heartbeats without ever applying the journal; what has a position is a worker.
        workers = [each for each in blocks if each.pid and each.position]
        requests = CounterMetricFamily("burgee_http_requests", "requests answered", labels=["route", "status"])
        known = [(route, status) for route, statuses in ANSWERS.items() for status in statuses]
        for (route, status), count in _sums(known, (each.requests() for each in blocks)).items():
            requests.add_metric([route, str(status or "other")], count)
        yield requests
        yield _durations(blocks)
        yield _counts("burgee_http_refused_keys", "requests refused for the key they presented", "why",
                      _sums(KEY_REASONS, (each.refused_keys() for each in blocks)))  # fmt: skip
        yield _counts("burgee_limited", "what went over a limit of its tenant; ..._warned was let pass", "limit",
                      _sums(LIMITS, (each.limited() for each in blocks)))  # fmt: skip
        yield _counts("burgee_shed", "requests refused because the server had too many", "route",
                      _sums(ROUTE_NAMES[:-1], (each.sheds() for each in blocks)))  # fmt: skip
        for name, explanation, total in (
            ("burgee_evaluations", "flag evaluations", sum(each.evaluations for each in blocks)),
            ("burgee_snapshot_maps", "snapshots mapped by workers", sum(each.maps for each in blocks)),
            ("burgee_snapshot_map_failures", "snapshots that could not be mapped",
             sum(each.map_failures for each in blocks)),
            ("burgee_snapshot_evictions", "idle snapshots let go for the memory budget",
             sum(each.evictions for each in blocks)),
        ):  # fmt: skip
            yield CounterMetricFamily(name, explanation, value=total)
        for name, explanation, value in (
            ("burgee_workers", "processes that answer", len(workers)),
            ("burgee_workers_behind", "of those, not yet at the newest publication",
             sum(each.position != self._page.position for each in workers)),
            ("burgee_workers_overloaded", "of those, shedding requests at the moment",
             sum(each.overloaded for each in workers)),
            ("burgee_http_connections", "open connections", sum(each.connections for each in workers)),
            ("burgee_http_requests_in_flight", "requests being answered", sum(each.in_flight for each in workers)),
            ("burgee_event_streams", "open event streams", sum(each.streams for each in workers)),
            ("burgee_mapped_snapshots", "over all workers", sum(each.mapped for each in workers)),
            ("burgee_mapped_snapshot_bytes", "over all workers, which share them",
             sum(each.mapped_bytes for each in workers)),
        ):  # fmt: skip
            yield _gauge(name, explanation, value)
        cpu = CounterMetricFamily("burgee_worker_cpu_seconds", "user and system time", labels=["worker"])
        memory = GaugeMetricFamily("burgee_worker_resident_memory_bytes", "shared pages included", labels=["worker"])
        for index, each in enumerate(sorted(workers, key=lambda each: each.index)):
            used = _used_by(each.pid)
            if used is not None:
                cpu.add_metric([str(index)], used[0])
                memory.add_metric([str(index)], used[1])
        yield cpu
        yield memory


def _sums(known: Iterable[Key], counts: Iterable[Mapping[Key, int]]) -> dict[Key, int]:
    """Of what is known beforehand also where it is 0."""
    total = dict.fromkeys(known, 0)
    for each in counts:
        for key, count in each.items():
            total[key] = total.get(key, 0) + count
    return total


def _counts(name: str, documentation: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for each, count in counts.items():
        family.add_metric([each], count)
    return family


def _durations(blocks: Iterable[Block]) -> HistogramMetricFamily:
    """From the moment that a request is all there to its answer, for what the front answers; else from its head."""
    routes: dict[str, tuple[list[int], float]] = {route: ([0] * (len(BOUNDS) + 1), 0.0) for route in ROUTE_NAMES}
    for block in blocks:
        for route, (counts, seconds) in block.durations().items():
            before, total = routes[route]
            routes[route] = [a + b for a, b in zip(before, counts, strict=True)], total + seconds
    family = HistogramMetricFamily(
        "burgee_http_request_duration_seconds", "from a request to its answer", labels=["route"]
    )
    for route, (counts, seconds) in routes.items():
        below, buckets = 0, []
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], counts, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric([route], buckets, seconds)
    return family


def _used_by(pid: int) -> tuple[float, int] | None:
    """CPU seconds and resident bytes of a process; None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)
