"""`ETag` and `If-Match`: nobody changes what they have not seen.

    etag_of(17)                            "17", quotes included
    require_match(request, 17, view)       428 without If-Match, 412 where it names another revision; 412 has `view`

A proxy may have made a tag weak (`W/"17"`): it is the same revision.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from server.control.problems import ProblemError

_TAGS = re.compile(r'\s*(?:W/)?"([\x21\x23-\x7e]*)"\s*(?:,|$)')


def etag_of(revision: int) -> str:
    return f'"{revision}"'


def require_match(request: web.Request, revision: int, current: Any) -> None:
    """For what exists. Raises ProblemError."""
    asked = tags_of(request, "If-Match")
    if asked is None:
        raise ProblemError(
            428,
            "precondition-required",
            "a change of what exists needs `If-Match` (hint: the `ETag` of its GET)",
            headers={"ETag": etag_of(revision)},
        )
    if "*" not in asked and str(revision) not in asked:
        raise stale(revision, current)


def refuse_match(request: web.Request) -> None:
    """For what does not exist, and would be made: `If-Match` names nothing then. Raises ProblemError."""
    if "If-Match" in request.headers:
        raise ProblemError(412, "stale", "there is nothing that `If-Match` could name")


def stale(revision: int, current: Any) -> ProblemError:
    """Also for a change that lost against another between its look and its transaction."""
    headers = {"ETag": etag_of(revision)}
    return ProblemError(412, "stale", "it was changed meanwhile", headers=headers, current=current)


def tags_of(request: web.Request, header: str) -> frozenset[str] | None:
    """None where there is none; `*` stands for any. What is no tag matches nothing."""
    lines = request.headers.getall(header, None)
    if lines is None:
        return None
    found = ",".join(lines).strip()
    return frozenset("*") if found == "*" else frozenset(_TAGS.findall(found)) - {"*"}
