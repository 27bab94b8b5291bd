"""Edge keys as a control plane knows them: rows of the record, for the instance, a tenant or a project.

await scope_of(record, request)      ->  Scope("shop", "web", ("production",)), or Refused(401 or 403)

Each request is looked up anew, so a key that is revoked is refused from its commit on.
"""

from __future__ import annotations

import time

import msgspec
from aiohttp import web
from sqlalchemy import select

from server import keys
from server.http.failures import Refused
from server.record.database import Record
from server.record.tables import keys as rows
from server.sync.scope import Scope
from server.types import KeyKind

_CHALLENGE = {"WWW-Authenticate": "Bearer"}


async def scope_of(record: Record, request: web.Request) -> Scope:
    presented = request.headers.getall("Authorization", ())
    scheme, _, key = presented[0].partition(" ") if len(presented) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise Refused(401, "no key was presented (hint: `Authorization: Bearer <key>`)", headers=_CHALLENGE)
    if keys.selector_of(key.strip()) is None:
        raise Refused(401, "the key is not valid", headers=_CHALLENGE)
    digest = keys.digest_of(key.strip()).hex()
    async with record.look() as tx:
        row = (await tx.execute(select(rows).where(rows.c.digest == digest))).one_or_none()
    now = time.time()
    if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        raise Refused(401, "the key is not valid", headers=_CHALLENGE)
    if row.kind != KeyKind.EDGE:
        raise Refused(403, f"a key of kind `{row.kind}` may not do this")
    return Scope(row.tenant, row.project, tuple(msgspec.json.decode(row.environments)))
