"""What happened, as those who took part saw it, and what must never be in it.

    history = History(published=[…], answers=[…])
    violations(history)  ->  ["caller 3 went back from version 18 to 17 at 12.31 s", …]

Moments are of one monotonic clock. A publish is known by when it was asked for and when it was acknowledged (None:
never, or with an error: it may or may not have happened); an answer by when it was asked for and when it came.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

EPOCH = 1_000_000_000  # versions after a restored backup begin above a multiple of it


@dataclass(frozen=True)
class Publish:
    generation: int
    asked_at: float
    acknowledged_at: float | None = None
    version: int | None = None  # as acknowledged


@dataclass(frozen=True)
class Answer:
    caller: int  # one connection, hence one worker
    asked_at: float
    came_at: float
    generation: int
    version: int
    host: str = ""


@dataclass(frozen=True)
class Settled:
    """Every worker of a host was seen at this version, or a later one: whoever comes after one of them begins there."""

    at: float
    version: int
    host: str = ""


@dataclass
class History:
    published: list[Publish] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # evaluations without a right answer in time
    recorded: Mapping[int, int] = field(default_factory=dict)  # at the end: version -> generation, as the record has it
    audited: list[int] = field(default_factory=list)  # at the end: versions that the audit says were published
    restored: bool = False  # a backup was
    lost_with_the_backup: set[int] = field(default_factory=set)  # versions that it did not have
    served_at_the_end: list[Answer] = field(default_factory=list)  # one of each worker, after all has settled


def violations(history: History) -> list[str]:
    return [
        *(f"torn: {each}" for each in history.torn),
        *(f"failed: {each}" for each in history.failed),
        *_not_dense(history),
        *_lost(history),
        *_half_applied(history),
        *_out_of_order(history),
        *_wrong(history),
        *_too_early(history),
        *_backwards(history),
        *_forgotten(history),
        *_not_converged(history),
    ]


def _is_restored(version: int) -> bool:
    """The first of an epoch is what was live in the backup, with its generation, and no row of its own in the audit."""
    return version > EPOCH and version % EPOCH == 1


def _not_dense(history: History) -> Iterator[str]:
    versions = sorted(history.recorded)
    if versions and versions[0] != 1:
        yield f"versions begin with {versions[0]}"
    for before, after in itertools.pairwise(versions):
        if after != before + 1 and not (_is_restored(after) and history.restored):
            yield f"versions jump from {before} to {after}"


def _lost(history: History) -> Iterator[str]:
    """What was acknowledged is in the record, as it was acknowledged; nothing is there twice."""
    for each in history.published:
        if each.acknowledged_at is None or each.version in history.lost_with_the_backup:
            continue
        if history.recorded.get(each.version or 0) != each.generation:
            yield f"generation {each.generation} was acknowledged as version {each.version} and is not in the record"
    asked = {each.generation for each in history.published}
    for generation, times in Counter(
        generation for version, generation in history.recorded.items() if not _is_restored(version)
    ).items():
        if times > 1:
            yield f"generation {generation} is in the record {times} times"
        if generation not in asked:
            yield f"generation {generation} is in the record and nobody published it"


def _half_applied(history: History) -> Iterator[str]:
    """A version and its row in the audit are one change."""
    audited = Counter(history.audited)
    for version in sorted(history.recorded.keys() | audited.keys()):
        if version not in history.recorded:
            yield f"version {version} is in the audit and not in the record"
        elif audited[version] != 1 and not _is_restored(version):
            yield f"version {version} is in the audit {audited[version]} times"


def _out_of_order(history: History) -> Iterator[str]:
    """There is one publisher, who waits for each answer: a later version never has an older generation."""
    rows = sorted(history.recorded.items())
    for (_, before), (version, after) in itertools.pairwise(rows):
        if after < before or (after == before and not _is_restored(version)):
            yield f"version {version} has generation {after}, after {before}"


def _wrong(history: History) -> Iterator[str]:
    lost = {
        (each.version, each.generation) for each in history.published if each.version in history.lost_with_the_backup
    }
    for each in history.answers:
        if history.recorded.get(each.version) != each.generation and (each.version, each.generation) not in lost:
            yield f"caller {each.caller} got generation {each.generation} as version {each.version}"


def _too_early(history: History) -> Iterator[str]:
    asked = {each.generation: each.asked_at for each in history.published}
    for each in history.answers:
        if each.came_at < asked.get(each.generation, 0.0):
            yield f"caller {each.caller} saw generation {each.generation} before anybody published it"


def _backwards(history: History) -> Iterator[str]:
    newest: dict[int, int] = {}
    for each in history.answers:
        if each.version < newest.get(each.caller, 0):
            yield f"caller {each.caller} went back from version {newest[each.caller]} to {each.version}"
        newest[each.caller] = max(each.version, newest.get(each.caller, 0))


def _forgotten(history: History) -> Iterator[str]:
    """Another connection, another worker in its place, another start: none answers from before what all had."""
    for host in {each.host for each in history.settled}:
        floors = sorted((each.at, each.version) for each in history.settled if each.host == host)
        moments = [at for at, _ in floors]
        highest = list(itertools.accumulate((version for _, version in floors), max))
        for each in history.answers:
            before = bisect.bisect_left(moments, each.asked_at) if each.host == host else 0
            if before and each.version < highest[before - 1]:
                yield f"caller {each.caller} got version {each.version} of {host}, where all had {highest[before - 1]}"


def _not_converged(history: History) -> Iterator[str]:
    if not history.answers:
        yield "nobody was answered"
    if not history.served_at_the_end:
        yield "nobody looked at the end"
    newest = max(history.recorded, default=0)
    for each in history.served_at_the_end:
        if each.version != newest:
            yield f"caller {each.caller} is at version {each.version} at the end, the record at {newest}"
