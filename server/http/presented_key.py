"""What a presented key opens, or why it opens nothing: the one rule for the front and for aiohttp's handlers.

    opened_by("burgee_server_…", permitted, catalog.grant, now)   ->   Grant(…)   or   KeyRefusal("unknown", 401, …)

The front says refusals of keys itself, from a table, so that whoever asks on with a revoked key costs
little; `KeyRefusal.message` is to the byte what aiohttp writes for the exception.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

import msgspec

from server import keys
from server.types import Grant, KeyKind

_LINES: Mapping[int, str] = {401: "Unauthorized", 403: "Forbidden"}


@dataclass(frozen=True, slots=True)
class KeyRefusal:
    reason: str  # one of the page's KEY_REASONS
    status: int
    details: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def message(self, date: bytes, *, close: bool) -> bytes:
        """The whole answer; `date` is a line."""
        body = msgspec.json.encode({"errorDetails": self.details})
        headers = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head = f"HTTP/1.1 {self.status} {_LINES[self.status]}\r\nCache-Control: private, no-store\r\n{headers}"
        head += f"Content-Type: application/json\r\nServer: burgee\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + date + (b"Connection: close\r\n" if close else b"") + b"\r\n" + body


def _unauthorized(reason: str, details: str) -> KeyRefusal:
    return KeyRefusal(reason, 401, details, {"WWW-Authenticate": "Bearer"})


MISSING = _unauthorized("missing", "no key was presented (hint: `Authorization: Bearer <key>`)")
SEVERAL = _unauthorized(
    "malformed",
    "two different keys were presented (hint: send one, as `Authorization: Bearer <key>` or as `X-API-Key`)",
)
MALFORMED = _unauthorized("malformed", "the key is not valid")
UNKNOWN = _unauthorized("unknown", "the key is not valid")
EXPIRED = _unauthorized("expired", "the key is not valid")
KIND: Mapping[KeyKind, KeyRefusal] = {
    kind: KeyRefusal("kind", 403, f"a key of kind `{kind}` may not do this") for kind in KeyKind
}


def opened_by(
    presented: str, permitted: Set[KeyKind], find: Callable[[bytes], Grant | None], now: float
) -> Grant | KeyRefusal:
    """`permitted`: kinds that the route is for; `find` looks a digest up; `now`: seconds since the epoch."""
    if not keys.looks_like_a_key(presented):
        return MALFORMED
    digest = keys.digest_of(presented)
    grant = find(digest)
    # The lookup already matched all 256 bits; comparing again costs nothing and needs no argument about dicts.
    if grant is None or not hmac.compare_digest(grant.digest, digest):
        return MALFORMED if keys.selector_of(presented) is None else UNKNOWN
    if grant.expires is not None and grant.expires <= now:
        return EXPIRED
    return grant if grant.kind in permitted else KIND[grant.kind]
