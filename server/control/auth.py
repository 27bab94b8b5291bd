"""The key of a request, and whether it opens the route: deny by default.

    Authorization: Bearer burgee_admin_…   ->   Principal("4fZ0k9QmX2aPb7Lc", Role.EDITOR, "shop", "web")

Keys are looked up in the record with every request, so one that is revoked is refused from its commit on. What a key
does not reach is 404, what it reaches and may not do 403.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from sqlalchemy import select

from server import keys
from server.control.problems import ProblemError, not_found
from server.control.roles import Need, Principal, Role
from server.record import tables
from server.record.database import Record
from server.types import KeyKind


def _unauthorized(detail: str) -> ProblemError:
    return ProblemError(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})


async def principal_of(request: web.Request, record: Record) -> Principal:
    """Raises ProblemError: 401 for no key or one that is not good; 403 for one of another kind than admin."""
    presented = presented_key(request)
    if presented is None:
        raise _unauthorized("no key was presented (hint: `Authorization: Bearer <key>`)")
    if keys.selector_of(presented) is None:  # junk costs no look into the record
        raise _unauthorized("the key is not valid")
    row = await live_key(record, presented)
    if row is None:
        raise _unauthorized("the key is not valid")
    if row["kind"] != KeyKind.ADMIN:
        raise ProblemError(403, "forbidden", f"a key of kind `{row['kind']}` may not do this")
    return Principal(row["selector"], Role(row["role"]), row["tenant"], row["project"])


async def live_key(record: Record, presented: str) -> Mapping[str, Any] | None:
    """The row of a key that is neither revoked nor expired."""
    digest = keys.digest_of(presented).hex()
    async with record.look() as tx:
        row = (await tx.execute(select(tables.keys).where(tables.keys.c.digest == digest))).mappings().one_or_none()
    if row is None or not hmac.compare_digest(row["digest"], digest):
        return None
    expired = row["expires_at"] is not None and row["expires_at"] <= time.time()
    return None if expired or row["revoked_at"] is not None else dict(row)


def presented_key(request: web.Request) -> str | None:
    found = request.headers.getall("Authorization", ())
    if len(found) != 1:
        return None
    scheme, _, token = found[0].partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def authorise(need: Need | None, principal: Principal, path: Mapping[str, str]) -> None:
    """Raises ProblemError. `path` has the names in the path; None as need: nobody."""
    tenant, project = path.get("tenant", ""), path.get("project", "")
    if not principal.touches(tenant, project):
        raise not_found()
    if need is None:
        raise ProblemError(403, "forbidden", "nobody may do this")
    if not principal.reaches(tenant, project) and not need.in_part:
        raise ProblemError(403, "forbidden", "the key is for a part of this only")
    if not principal.may(need.role):
        raise ProblemError(403, "forbidden", f"this needs the role `{need.role}`; the key has `{principal.role}`")
