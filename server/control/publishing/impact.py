"""Which flags would answer otherwise, and for which share of contexts, before anything is published.

    impact_of(old snapshot, new snapshot, [{"targetingKey": "u-1", …}, …])
    ->  Impact(contexts=200, flags=(Flips("checkout", flips=31, share=0.155),))

Contexts come with the request, or from those seen lately where an environment keeps some (`sampleContexts`).
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from engine import Snapshot
from server.control.publishing.refusals import RefusedError
from server.types import EnvironmentId

MOST_CONTEXTS: Final = 1_000
MOST_EVALUATIONS: Final = 2_000_000  # contexts times flags, of each version
MOST_ENVIRONMENTS: Final = 1_000  # whose contexts are kept

Context = Mapping[str, Any]


class Flips(msgspec.Struct, frozen=True):
    flag: str
    flips: int  # contexts that would get another variant or value
    share: float  # of all contexts


class Impact(msgspec.Struct, frozen=True):
    contexts: int
    flags: tuple[Flips, ...] = ()  # those with flips, the most first

    @property
    def largest(self) -> float:
        return self.flags[0].share if self.flags else 0.0

    def is_above(self, threshold: float | None) -> bool:
        return threshold is not None and self.largest > threshold

    def check(self, threshold: float | None, *, override: bool = False) -> None:
        """Raises ImpactError where one flag flips for a larger share than that."""
        if threshold is not None and self.is_above(threshold) and not override:
            worst = self.flags[0]
            message = f"flag `{worst.flag}` flips for {worst.share:.1%} of contexts; {threshold:.1%} is allowed"
            raise ImpactError(message, self)


class ImpactError(RefusedError):
    """More contexts would get another answer than the environment allows at once."""

    def __init__(self, message: str, impact: Impact) -> None:
        super().__init__(message)
        self.impact = impact


def impact_of(before: bytes | None, after: bytes, contexts: Sequence[Context]) -> Impact:
    """A flag that is new flips for nobody; one that goes flips for everybody. `before` None: there was no version."""
    new = Snapshot.from_bytes(after)
    if before is None or not contexts:
        return Impact(0)
    old, now = Snapshot.from_bytes(before), int(time.time() * 1000)
    some = contexts[: min(MOST_CONTEXTS, max(1, MOST_EVALUATIONS // max(1, len(old), len(new))))]
    flips: dict[str, int] = {}
    for context in some:
        was, will = old.evaluate_all(context, now=now), new.evaluate_all(context, now=now)
        for key, evaluation in was.items():
            other = will.get(key)
            if other is None or (evaluation.variant, evaluation.value) != (other.variant, other.value):
                flips[key] = flips.get(key, 0) + 1
    ranked = sorted(flips.items(), key=lambda each: (-each[1], each[0]))
    return Impact(len(some), tuple(Flips(key, count, round(count / len(some), 6)) for key, count in ranked))


class RecentContexts:
    """Contexts that were evaluated lately, some of each environment: the oldest go first. In memory only.

    Whom a context is about is kept as a hash: shares stay what they are, and nobody is named.
    """

    def __init__(self, each: int = MOST_CONTEXTS, environments: int = MOST_ENVIRONMENTS) -> None:
        self._each = each
        self._environments = environments
        self._kept: OrderedDict[EnvironmentId, deque[Context]] = OrderedDict()

    def add(self, environment: EnvironmentId, context: Context) -> None:
        kept = self._kept.setdefault(environment, deque(maxlen=self._each))
        kept.append(_anonymous(context))
        self._kept.move_to_end(environment)
        if len(self._kept) > self._environments:
            self._kept.popitem(last=False)

    def of(self, environment: EnvironmentId) -> tuple[Context, ...]:
        return tuple(self._kept.get(environment, ()))

    def forget(self, environment: EnvironmentId) -> None:
        self._kept.pop(environment, None)


def _anonymous(context: Context) -> Context:
    key = context.get("targetingKey")
    if key is None:
        return context
    return {**context, "targetingKey": hashlib.sha256(f"burgee context\0{key}".encode()).hexdigest()[:32]}
