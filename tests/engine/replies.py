"""Every way to ask for JSON, and what the reply says, as plain entries.

for ask in asks(snapshot, contexts, client=False, now=0):
    ask.reply()          b'{"flags":[{"key":"checkout","value":"classic",…}],…}'
    entries(ask.reply()) [{"key": "checkout", "value": "classic", …}]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from engine import Snapshot


@dataclass(frozen=True)
class Ask:
    """One call. `reply` takes the keyword arguments to add to it."""

    way: str
    reply: Callable[..., bytes]
    msgpack: bool = False

    def decoded(self, **more: Any) -> Any:
        """Members keep the order they were written in."""
        reply = self.reply(**more)
        return msgspec.msgpack.decode(reply) if self.msgpack else json.loads(reply)


def asks(snapshot: Snapshot, contexts: Sequence[Mapping[str, Any]], *, client: bool, now: int) -> Iterator[Ask]:
    fixed = {"client": client, "now": now}
    keys = [*snapshot.flag_keys, "no-such-flag"]
    for context in contexts:
        body = json.dumps({"context": context}).encode()
        yield Ask("bulk", _calling(snapshot.evaluate_json, body, **fixed))
        yield Ask("bulk if changed", _unchanged(snapshot, body, **fixed))
        for key in keys:
            yield Ask(f"single {key}", _calling(snapshot.evaluate_json, body, key, **fixed))
    for form in ("full", "compact"):
        for named in (None, [], [*reversed(keys), keys[0]]):
            request = {"contexts": contexts, "format": form} | ({} if named is None else {"flags": named})
            body = json.dumps(request).encode()
            for encoding in ("json", "msgpack"):
                call = _calling(snapshot.evaluate_batch, body, encoding=encoding, **fixed)
                yield Ask(f"batch {form} of {named} in {encoding}", call, encoding == "msgpack")


def _calling(call: Callable[..., bytes], *given: Any, **fixed: Any) -> Callable[..., bytes]:
    return lambda **more: call(*given, **fixed, **more)


def _unchanged(snapshot: Snapshot, body: bytes, **fixed: Any) -> Callable[..., bytes]:
    def call(**more: Any) -> bytes:
        reply = snapshot.evaluate_json_if_changed(body, '"another"', **fixed, **more)[1]
        assert reply is not None
        return reply

    return call


def entries(decoded: Any) -> list[dict[str, Any]]:
    """The answers in a reply, one for each flag and context."""
    if "results" not in decoded:
        return list(decoded["flags"]) if "flags" in decoded else [decoded]
    if "outcomes" not in decoded:
        return [entry for result in decoded["results"] for entry in result["flags"]]
    return [
        {"key": key} | (outcomes[index] if index >= 0 else {"errorCode": "TARGETING_KEY_MISSING"})
        for row in decoded["results"]
        for key, outcomes, index in zip(decoded["flags"], decoded["outcomes"], row, strict=True)
    ]
