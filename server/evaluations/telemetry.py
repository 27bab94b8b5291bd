"""Sampled evaluations as OpenTelemetry events.

    {"key": "checkout", "variant": "new", "reason": "SPLIT", …}

becomes an event `feature_flag.evaluation` with `feature_flag.key` = checkout, `feature_flag.result.variant` = new,
`feature_flag.result.reason` = split, … (OpenTelemetry semantic conventions, feature flags in events). Who asked is
only in it where the operator says so: a targeting key is personal data.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
import structlog

from server.state.catalog import Served

EVENT = "feature_flag.evaluation"
MOST_EVENTS = 25  # of one request; of more, so many are chosen
LARGEST = 1 << 18  # bytes of a reply, or of a request with the targeting key, that is looked into
LONGEST_TEXT = (
    256  # characters of what a caller may have made up: the key of a flag that does not exist, the targeting key
)

_from_json = msgspec.json.Decoder().decode
_from_msgpack = msgspec.msgpack.Decoder().decode


class Emit(Protocol):
    """Takes an event, or loses it, at once."""

    def __call__(self, attributes: Mapping[str, str], at: int) -> None: ...  # at: nanoseconds since the epoch


class _Context(msgspec.Struct):
    targeting_key: Any = msgspec.field(name="targetingKey", default=None)


class _Asked(msgspec.Struct):
    context: _Context | None = None
    contexts: list[_Context] = []


_asked = msgspec.json.Decoder(_Asked).decode


class Telemetry:
    def __init__(self, emit: Emit, share: float, *, context_ids: bool) -> None:
        """`share` of the requests, above 0 up to 1."""
        self._emit = emit
        self._share = share
        self._context_ids = context_ids
        self._left = self.gap()
        self._log = structlog.get_logger("telemetry")

    def gap(self) -> int:
        """Requests up to and with the next one that is sampled: random, so that no rhythm of callers hides from it."""
        if self._share >= 1.0:
            return 1
        return 1 + int(min(math.log(1.0 - random.random()) / math.log1p(-self._share), 2.0**62))

    def sampled(self) -> bool:
        """Is this request one? To be asked once for each that is evaluated."""
        self._left -= 1
        if self._left:
            return False
        self._left = self.gap()
        return True

    def record(self, served: Served, body: bytes, reply: bytes, *, packed: bool = False) -> None:
        """What one request was answered. `packed`: the reply is MessagePack. Within the request: it must not fail."""
        try:
            self._record(served, body, reply, packed)
        except Exception as error:
            self._log.error("a request was not recorded", why=type(error).__name__)  # not its text: it may quote

    def _record(self, served: Served, body: bytes, reply: bytes, packed: bool) -> None:
        if len(reply) > LARGEST:
            return
        answers = answers_in(_from_msgpack(reply) if packed else _from_json(reply))
        if not answers:
            return
        if len(answers) > MOST_EVENTS:
            answers = random.sample(answers, MOST_EVENTS)
        targeting_keys = _targeting_keys(body) if self._context_ids else []
        now = time.time_ns()
        every = {
            "feature_flag.provider.name": "burgee",
            "feature_flag.set.id": served.snapshot.flag_set_id,
            "feature_flag.version": served.version,
        }
        for place, key, answer in answers:
            attributes = {"feature_flag.key": key[:LONGEST_TEXT], **every, **_result(answer)}
            who = targeting_keys[place] if place < len(targeting_keys) else None
            if who is not None:
                attributes["feature_flag.context.id"] = who[:LONGEST_TEXT]
            self._emit(attributes, now)


def answers_in(reply: Any) -> list[tuple[int, str, Mapping[str, Any]]]:
    """(context, flag, answer) of every kind of reply.

    >>> answers_in({"flags": ["a"], "outcomes": [[{"variant": "on"}]], "results": [[0], [-1]]})
    [(0, 'a', {'variant': 'on'}), (1, 'a', {'errorCode': 'TARGETING_KEY_MISSING'})]
    """
    if "key" in reply:
        return [(0, reply["key"], reply)]
    if "outcomes" in reply:
        return [
            (place, key, outcomes[index] if index >= 0 else {"errorCode": "TARGETING_KEY_MISSING"})
            for place, row in enumerate(reply["results"])
            for key, outcomes, index in zip(reply["flags"], reply["outcomes"], row, strict=True)
        ]
    rows = reply.get("results") or [reply]
    return [(place, each["key"], each) for place, row in enumerate(rows) for each in row.get("flags", ())]


def _result(answer: Mapping[str, Any]) -> dict[str, str]:
    error, variant = answer.get("errorCode"), answer.get("variant")
    reason = "error" if error else answer.get("reason", "unknown")
    result = {"feature_flag.result.reason": reason.lower()}
    if variant is not None:
        result["feature_flag.result.variant"] = variant
    if error:
        result["error.type"] = error.lower()
    return result


def _targeting_keys(body: bytes) -> list[str | None]:
    """By context."""
    if len(body) > LARGEST:
        return []
    try:
        asked = _asked(body)
    except msgspec.MsgspecError:
        return []
    contexts = [asked.context] if asked.context else asked.contexts
    return [each.targeting_key if isinstance(each.targeting_key, str) else None for each in contexts]
