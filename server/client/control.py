"""A control plane, asked as often as it takes, and never twice for one thing.

    control = Control(Connection("http://127.0.0.1:8082"), key)
    control.post("/tenants", {"name": "shop"})                              Reply({"name": "shop", …}, etag='"1"')
    control.put("/tenants/shop/projects/web/flags/checkout", {…}, etag='"3"')
    list(control.pages("/tenants"))                                         every item, page after page

What fails on its way, or is answered with 503, is tried again for some seconds; so is what was lost and is still being
done. A POST carries an Idempotency-Key, so
one whose answer was lost is done once. A PUT or DELETE whose answer was lost, and that is then refused because what it
changes is another by now, is looked after: when that is as it was to become, it was done.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import msgspec

from server.client.connection import TIMEOUT, Answer, Connection, LostError, NotSentError
from server.client.problems import RefusedError, UnreachableError, problem_of, refusal
from server.version import version

ROOT = "/api/v1"
RETRY_FOR = 5.0  # seconds, by default
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds; doubled each time, and times 0.5 to 1.5
TRY_AGAIN = frozenset({502, 503, 504})
PAGE = 500  # items

Query = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Reply:
    body: Any  # JSON
    etag: str | None = None  # as it came, for If-Match


class Control:
    def __init__(self, connection: Connection, key: str, *, retry_for: float = RETRY_FOR) -> None:
        self._connection = connection
        self._key = key
        self._retry_for = retry_for

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str, query: Query = {}) -> Reply:  # noqa: B006 - it is not changed
        return self._ask("GET", path, query)

    def find(self, path: str) -> Reply | None:
        """None for 404."""
        try:
            return self.get(path)
        except RefusedError as error:
            if error.status != 404:
                raise
            return None

    def post(self, path: str, body: Any = None, *, etag: str | None = None, query: Query = {}) -> Reply:  # noqa: B006
        return self._ask("POST", path, query, body, etag=etag)

    def put(self, path: str, body: Any, *, etag: str | None = None, query: Query = {}) -> Reply:  # noqa: B006
        return self._ask("PUT", path, query, body, etag=etag)

    def patch(self, path: str, body: Any, *, etag: str | None = None) -> Reply:
        return self._ask("PATCH", path, {}, body, etag=etag)

    def delete(self, path: str, *, etag: str | None = None) -> Reply:
        return self._ask("DELETE", path, {}, etag=etag)

    def pages(self, path: str, query: Query = {}, *, most: int | None = None) -> Iterator[Any]:  # noqa: B006
        """The items of a list, `most` of them."""
        after: dict[str, str] = {}
        left = most
        while left is None or left > 0:
            page = self.get(path, {**query, "limit": PAGE if left is None else min(PAGE, left), **after}).body
            yield from page["items"]
            if not page.get("next") or not page["items"]:
                return
            after = {"after": str(page["next"])}
            left = None if left is None else left - len(page["items"])

    def _ask(self, method: str, path: str, query: Query, body: Any = None, *, etag: str | None = None) -> Reply:
        target = ROOT + path + (f"?{urlencode(query)}" if query else "")
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Accept": "application/json",
            "User-Agent": f"burgee/{version()}",
        }
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        if method == "POST":
            headers["Idempotency-Key"] = secrets.token_hex(16)
        if etag is not None:
            headers["If-Match"] = etag
        answer, lost = self._patiently(method, target, headers, content, float(query.get("wait", 0)))
        if 200 <= answer.status < 300:
            return _reply(answer)
        refused = refusal(answer.status, answer.media_type, answer.body, f"{method} {ROOT}{path}")
        if lost and method in ("PUT", "DELETE") and self._is_as_wanted(method, path, body, refused.status):
            return self.find(path) or Reply(None)
        raise refused

    def _patiently(
        self, method: str, target: str, headers: dict[str, str], content: bytes | None, waiting: float
    ) -> tuple[Answer, bool]:
        """The answer, and whether one before it was lost. Raises UnreachableError.

        The answer may take `waiting` seconds longer than others.
        """
        until = time.monotonic() + self._retry_for
        pause, lost = FIRST_PAUSE, False
        while True:
            wait = pause * random.uniform(0.5, 1.5)
            try:
                answer = self._connection.send(method, target, headers, content, timeout=TIMEOUT + waiting)
            except NotSentError as error:
                hint = "is it running? --control and BURGEE_CONTROL name another"
                failed = UnreachableError(f"{self._connection.url} cannot be reached: {error} (hint: {hint})")
            except LostError as error:
                lost = True
                odd = "" if method == "GET" else "; it may have been done all the same"
                failed = UnreachableError(f"{self._connection.url} gave no answer: {error}{odd}")
            else:
                busy = answer.status in TRY_AGAIN or (lost and is_in_flight(answer))
                if not busy or time.monotonic() + wait > until:
                    return answer, lost
                wait = max(wait, _seconds(answer.headers.get("retry-after")))
                problem = problem_of(answer.media_type, answer.body) or {}
                why = problem.get("detail") or "it has no time at the moment"
                failed = UnreachableError(f"{self._connection.url} answered {answer.status}: {why}")
            if time.monotonic() + wait > until:
                raise failed from None
            time.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _is_as_wanted(self, method: str, path: str, wanted: Any, status: int) -> bool:
        """Was it done by the request whose answer was lost?"""
        if method == "DELETE":
            return status == 404
        found = self.find(path) if status in (409, 412, 428) else None
        return found is not None and found.body == msgspec.to_builtins(wanted)


def is_in_flight(answer: Answer) -> bool:
    """The first request with this Idempotency-Key is not answered yet."""
    problem = problem_of(answer.media_type, answer.body) if answer.status == 409 else None
    return problem is not None and problem.get("type") == "urn:burgee:problem:in-flight"


def path_of(*parts: str) -> str:
    """
    >>> path_of("tenants", "shop", "projects")
    '/tenants/shop/projects'
    """
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def version_tag(number: int) -> str:
    """The ETag of an environment at a version."""
    return f'"{number}"'


def revision_of(etag: str | None) -> int | None:
    """The number in an ETag; a proxy may have made it weak.

    >>> revision_of('"17"'), revision_of('W/"17"'), revision_of(None)
    (17, 17, None)
    """
    text = (etag or "").removeprefix("W/").strip('"')
    return int(text) if text.isdecimal() else None


def _reply(answer: Answer) -> Reply:
    try:
        body = msgspec.json.decode(answer.body) if answer.body else None
    except msgspec.DecodeError:
        raise UnreachableError("the answer is not JSON (hint: is this the address of a control plane?)") from None
    return Reply(body, answer.headers.get("etag"))


def _seconds(text: str | None) -> float:
    return min(float(text), LONGEST_PAUSE) if text is not None and text.isdigit() else 0.0
