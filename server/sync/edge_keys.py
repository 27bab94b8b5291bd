"""Edge keys as a control plane knows them: rows of the record, for the instance, a tenant or a project.

await scope_of(record, request)      ->  Scope("shop", "web", ("production",)), or Refused(401 or 403)

Each request is looked up anew, so a key that is revoked is refused from its commit on.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from server import keys
from server.control.auth import live_key, presented_key
from server.http.failures import Refused
from server.record.database import Record
from server.sync.scope import Scope
from server.types import KeyKind

_CHALLENGE = {"WWW-Authenticate": "Bearer"}


async def scope_of(record: Record, request: web.Request) -> Scope:
    presented = presented_key(request)
    if presented is None:
        raise Refused(401, "no key was presented (hint: `Authorization: Bearer <key>`)", headers=_CHALLENGE)
    row = await live_key(record, presented) if keys.selector_of(presented) is not None else None
    if row is None:
        raise Refused(401, "the key is not valid", headers=_CHALLENGE)
    if row["kind"] != KeyKind.EDGE:
        raise Refused(403, f"a key of kind `{row['kind']}` may not do this")
    return Scope(row["tenant"], row["project"], tuple(msgspec.json.decode(row["environments"])))
