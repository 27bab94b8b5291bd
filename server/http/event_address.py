"""The address of an event stream: it opens the stream by itself, since a browser's EventSource sends no headers.

    /ofrep/v1/events?environment=shop/web/production&key=4fZ0k9QmX2aPb7Lc&expires=1795435200&token=…

The token is an HMAC over the rest, keyed by the digest of the key, so every replica can make and check it, nothing is
stored, and it dies with its key. What it opens tells only that something was published.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import NamedTuple

from aiohttp import web

from server.state.catalog import Catalog
from server.types import EnvironmentId, Grant, ProjectId

PATH = "/ofrep/v1/events"
PERIOD = 12 * 3600  # seconds: for so long an address stays the same, since clients reconnect when it changes
INACTIVITY = 120  # seconds that a hidden page keeps its stream
TOKEN = "token"
_MEMBERS = ("environment", "key", "expires", TOKEN)


class Offer(NamedTuple):
    """What a bulk answer says of the streams for its key and environment."""

    tail: bytes  # instead of the answer's last brace
    mark: str  # ends the entity tag: a 304 must not keep a client at an address that has expired
    until: float  # seconds since the epoch


def offer(grant: Grant, environment: EnvironmentId, now: float) -> Offer:
    """`now` in seconds since the epoch. The address is good for one to two periods more."""
    period = int(now) // PERIOD
    expires = (period + 3) * PERIOD
    uri = (
        f"{PATH}?environment={environment}&key={grant.selector}&expires={expires}"
        f"&{TOKEN}={_token(grant.digest, grant.selector, str(environment), expires)}"
    )
    tail = f',"eventStreams":[{{"type":"sse","endpoint":{{"requestUri":"{uri}"}},"inactivityDelaySec":{INACTIVITY}}}]}}'
    return Offer(tail.encode(), f"-{period:x}", float((period + 1) * PERIOD))


def without_mark(if_none_match: str, mark: str) -> str | None:
    """The tags as the engine knows them; None when none can be of this period.

    >>> without_mark('"abc-9e2b", "def-9e2a"', "-9e2b")
    '"abc", "def-9e2a"'
    """
    if mark not in if_none_match:
        return if_none_match if if_none_match.strip() == "*" else None
    return if_none_match.replace(f'{mark}"', '"')


def opened_by(request: web.Request, catalog: Catalog, now: float) -> tuple[Grant, EnvironmentId] | str:
    """What the request's address opens, or a word that says why nothing: a reason of refused keys."""
    query = request.query
    if any(len(query.getall(name, ())) != 1 for name in _MEMBERS):
        return "malformed"
    named, selector, expires, token = (query[name] for name in _MEMBERS)
    parts = named.split("/")
    if len(parts) != 3 or not re.fullmatch(r"[0-9]{1,12}", expires, re.ASCII) or not token.isascii():
        return "malformed"
    environment = EnvironmentId(*parts)
    grant = catalog.grant_of(ProjectId(*parts[:2]), selector)
    if grant is None or not hmac.compare_digest(_token(grant.digest, selector, named, int(expires)), token):
        return "unknown"
    if int(expires) <= now or (grant.expires is not None and grant.expires <= now):
        return "expired"
    return (grant, environment) if environment in grant.environments else "unknown"


def _token(digest: bytes, selector: str, environment: str, expires: int) -> str:
    made = hmac.digest(digest, f"burgee events 1 {selector} {environment} {expires}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(made).decode().rstrip("=")
