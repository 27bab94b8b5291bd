"""How the workers on a canary fare beside the others of this host, and whether that is a reason to halt it (ADR 0017).

    trials.hear(Counted(environments=(("shop/web/production", (("checkout", None, 812),)),), versions=(18,), …))
    trials.reports()      {"shop/web/production": CanaryReport(version=18, complaint="`checkout`: code default and …")}

Counts are over the canary's life on this host, since this agent began. A complaint stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from server.evaluations.messages import Counted
from server.shared.page import Block
from server.state.committed import Committed
from server.state.records import Canary
from server.sync.messages import CanaryReport
from server.types import EnvironmentId

LEAST = 100  # evaluations, or requests, on each side before they say anything
ERRORS = 5.0  # standard errors of the difference
ALL_POINTS, FLAG_POINTS, FAILURE_POINTS = 0.05, 0.10, 0.01  # by which a share must be higher
SERVER_ERROR = 500  # refusals (503) are of the load, and of other environments


@dataclass(slots=True)
class Side:
    """Something counted on the canary's workers, or on the others."""

    all: int = 0
    bad: int = 0

    def add(self, count: int, bad: int) -> None:
        self.all += count
        self.bad += bad

    @property
    def share(self) -> float:
        return self.bad / self.all if self.all else 0.0


def is_worse(canary: Side, others: Side, points: float) -> bool:
    """Two proportions, pooled.

    >>> is_worse(Side(200, 40), Side(200, 2), 0.05), is_worse(Side(200, 9), Side(200, 2), 0.05)
    (True, False)
    """
    if min(canary.all, others.all) < LEAST or canary.share - others.share <= points:
        return False
    pooled = (canary.bad + others.bad) / (canary.all + others.all)
    error = math.sqrt(pooled * (1 - pooled) * (1 / canary.all + 1 / others.all))
    return canary.share - others.share > ERRORS * error


@dataclass(slots=True)
class _Trial:
    canary: Canary
    live: int  # the version beside it
    complaint: str = ""
    everything: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))  # the canary's, the others'
    flags: dict[str, tuple[Side, Side]] = field(default_factory=dict)
    failures: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))


class Trials:
    def __init__(self, committed: Committed, workers: int, complained: Callable[[], None] = lambda: None) -> None:
        """`workers`: how many there are to be. `complained` is called once for each canary that fares badly."""
        self._committed = committed
        self._workers = workers
        self._complained = complained
        self._trials: dict[EnvironmentId, _Trial] = {}
        self._seen: dict[tuple[int, int], tuple[int, int]] = {}  # by block and process: requests, those that failed
        self._log = structlog.get_logger("canary")

    def hear(self, message: Counted) -> None:
        """What a worker answered since its message before."""
        running = self._running()
        if not running:
            return
        for (name, rows), version in zip(message.environments, message.versions, strict=False):
            trial = running.get(name)
            if trial is None or version not in (trial.canary.published.version, trial.live):
                continue
            side = int(version == trial.live)
            for flag, variant, count in rows:
                bad = count if variant is None else 0
                trial.everything[side].add(count, bad)
                trial.flags.setdefault(flag, (Side(), Side()))[side].add(count, bad)

    def cannot_map(self, environment: EnvironmentId, version: int) -> None:
        """A worker says so of a snapshot."""
        trial = self._running().get(str(environment))
        if trial is not None and version == trial.canary.published.version:
            self._complain(trial, environment, "a worker cannot map its snapshot")

    def look(self, blocks: Sequence[Block]) -> None:
        """Once a second: at what the workers, who these blocks are of, have answered with a fault of their own."""
        seen = {(each.index, each.pid): _answered(each) for each in blocks}
        before, self._seen = self._seen, seen
        running = self._running()
        if not running:
            return
        slots = {(each.index, each.pid): each.slot for each in blocks}
        for key, (requests, failed) in seen.items():
            last_requests, last_failed = before.get(key, (requests, failed))
            for trial in running.values():
                side = int(not trial.canary.is_for(slots[key], self._workers))
                trial.failures[side].add(requests - last_requests, failed - last_failed)

    def reports(self) -> dict[str, CanaryReport]:
        """Of every canary that runs here."""
        for name, trial in self._running().items():
            if not trial.complaint and (complaint := _complaint_of(trial)):
                self._complain(trial, name, complaint)
        return {
            name: CanaryReport(
                version=each.canary.published.version,
                complaint=each.complaint,
                evaluations=each.everything[0].all,
                defaults=each.everything[0].bad,
                other_evaluations=each.everything[1].all,
                other_defaults=each.everything[1].bad,
            )
            for name, each in self._running().items()
        }

    def _running(self) -> dict[str, _Trial]:
        """By environment; those that are new begin, those that have ended go."""
        trials = self._committed.trials
        if trials or self._trials:
            kept = {}
            for environment, canary in trials.items():
                trial = self._trials.get(environment)
                if trial is None or trial.canary.published != canary.published:
                    record = self._committed.newest(environment.project_id)
                    live = record.published(environment.environment) if record else None
                    trial = _Trial(canary, live.version if live else 0)
                kept[environment] = trial
            self._trials = kept
        return {str(environment): trial for environment, trial in self._trials.items()}

    def _complain(self, trial: _Trial, environment: object, complaint: str) -> None:
        if not trial.complaint:
            trial.complaint = complaint
            self._complained()
            self._log.error(
                "a canary fares badly",
                environment=str(environment),
                version=trial.canary.published.version,
                why=complaint,
            )


def _answered(block: Block) -> tuple[int, int]:
    requests = block.requests()
    return sum(requests.values()), sum(count for (_, status), count in requests.items() if status == SERVER_ERROR)


def _complaint_of(trial: _Trial) -> str:
    if is_worse(*trial.everything, ALL_POINTS):
        return _said("code default and errors", *trial.everything, "evaluations")
    for flag, sides in trial.flags.items():
        if is_worse(*sides, FLAG_POINTS):
            return _said(f"`{flag}`: code default and errors", *sides, "evaluations")
    if is_worse(*trial.failures, FAILURE_POINTS):
        return _said("status 500", *trial.failures, "requests")
    return ""


def _said(what: str, canary: Side, others: Side, of: str) -> str:
    return (
        f"{what}: {canary.share:.1%} of {canary.all} {of}, beside {others.share:.1%} of {others.all} of other workers"
    )
