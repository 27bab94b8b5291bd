"""What happened, as those who took part saw it, and what must never be in it.

    history = History(published=[…], answers=[…])
    violations(history)  ->  ["caller 3 went back from version 18 to 17 at 12.31 s", …]

Moments are of one monotonic clock. A publish is known by when it was asked for and when it was acknowledged (None:
never, or with an error: it may or may not have happened); an answer by when it was asked for and when it came.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


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


@dataclass
class History:
    published: list[Publish] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # evaluations without a right answer in time
    recorded: Mapping[int, int] = field(default_factory=dict)  # at the end: version -> generation, as the record has it
    served_at_the_end: list[Answer] = field(default_factory=list)  # one of each worker, after all has settled


def violations(history: History) -> list[str]:
    return [
        *(f"torn: {each}" for each in history.torn),
        *(f"failed: {each}" for each in history.failed),
        *_not_dense(history),
        *_lost(history),
        *_wrong(history),
        *_too_early(history),
        *_backwards(history),
        *_not_converged(history),
    ]


def _not_dense(history: History) -> Iterator[str]:
    versions = sorted(history.recorded)
    for before, after in itertools.pairwise(versions):
        if after != before + 1:
            yield f"versions jump from {before} to {after}"


def _lost(history: History) -> Iterator[str]:
    """What was acknowledged is in the record, as it was acknowledged; nothing is there twice."""
    for each in history.published:
        if each.acknowledged_at is not None and history.recorded.get(each.version or 0) != each.generation:
            yield f"generation {each.generation} was acknowledged as version {each.version} and is not in the record"
    generations = list(history.recorded.values())
    asked = {each.generation for each in history.published}
    for each_generation in set(generations):
        if generations.count(each_generation) > 1:
            yield f"generation {each_generation} is in the record {generations.count(each_generation)} times"
        if each_generation not in asked:
            yield f"generation {each_generation} is in the record and nobody published it"


def _wrong(history: History) -> Iterator[str]:
    for each in history.answers:
        if history.recorded.get(each.version) != each.generation:
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


def _not_converged(history: History) -> Iterator[str]:
    newest = max(history.recorded, default=0)
    if not history.served_at_the_end:
        yield "nobody looked at the end"
    for each in history.served_at_the_end:
        if each.version != newest:
            yield f"caller {each.caller} is at version {each.version} at the end, the record at {newest}"
