"""`Idempotency-Key`: the same request again gets the first answer again, and does nothing.

    POST …, Idempotency-Key: 7f3a     201, done once
    POST …, Idempotency-Key: 7f3a     201, the same, with `Idempotency-Replayed: true`
    another body, the same key        422; while the first is still being answered: 409

The answer is kept by the transaction of the change, for a day, for the admin key that asked. Failures are not kept:
nothing was changed, so trying again is right.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web
from sqlalchemy import delete, insert, select

from server.control.problems import ProblemError
from server.http.failures import JSON, NO_STORE
from server.record import tables
from server.record.database import Record, Transaction

if TYPE_CHECKING:
    from server.control.api.frame import Answer

HEADER: Final = "Idempotency-Key"
KEPT: Final = 86_400.0  # seconds
_KEY = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Once:
    actor: str
    key: str
    request: str  # digest of all that makes it this request

    async def kept(self, record: Record) -> web.Response | None:
        """The first answer, where there is one. Raises ProblemError for another request with this key."""
        rows = tables.idempotency.c
        async with record.look() as tx:
            row = (
                await tx.execute(
                    select(rows.request, rows.status, rows.headers, rows.body).where(
                        rows.actor == self.actor, rows.key == self.key, rows.at > time.time() - KEPT
                    )
                )
            ).one_or_none()
        if row is None:
            return None
        if row.request != self.request:
            raise ProblemError(422, "idempotency-key-reused", f"`{HEADER}` was given with another request before")
        headers = {**NO_STORE, **msgspec.json.decode(row.headers), "Idempotency-Replayed": "true"}
        return web.Response(status=row.status, body=row.body or None, content_type=JSON, headers=headers)

    async def keep(self, tx: Transaction, answer: Answer) -> None:
        """INVARIANT: in the transaction of the change. A second one fails here, by the primary key."""
        rows = tables.idempotency
        await tx.execute(delete(rows).where(rows.c.at <= time.time() - KEPT))
        value = answer.kept if answer.kept is not None else answer.value
        await tx.execute(
            insert(rows).values(
                actor=self.actor,
                key=self.key,
                request=self.request,
                status=answer.status,
                headers=msgspec.json.encode(headers_of(answer)).decode(),
                body=b"" if value is None else msgspec.json.encode(value),
                at=time.time(),
            )
        )


def once_of(request: web.Request, actor: str, body: bytes) -> Once | None:
    """None without the header. Raises ProblemError."""
    given = request.headers.getall(HEADER, ())
    if not given:
        return None
    if len(given) != 1 or _KEY.fullmatch(given[0]) is None:
        raise ProblemError(400, "bad-request", f"`{HEADER}` must be 1 to 128 visible characters of ASCII")
    said = (request.method, request.raw_path, ",".join(request.headers.getall("If-Match", ())))
    digest = hashlib.sha256("\n".join(said).encode("utf-8", "surrogateescape") + b"\n" + body).hexdigest()
    return Once(actor, given[0], digest)


def headers_of(answer: Answer) -> Mapping[str, str]:
    headers = dict(answer.headers)
    if answer.etag is not None:
        headers["ETag"] = f'"{answer.etag}"'
    if answer.location is not None:
        headers["Location"] = answer.location
    return headers
