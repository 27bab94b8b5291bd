"""The counts, for whoever asks the management port.

    GET /evaluations?environment=shop/web/production&all=true

becomes `{"evaluations": [{"environment": "shop/web/production", "flag": "checkout", "variant": "new", "count": 41,
"firstAt": "…", "lastAt": "…"}, …], "next": null}`, or the same as CSV.
"""

from __future__ import annotations

import base64
import csv
import io
import sqlite3
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from engine import SnapshotError
from server.evaluations.database import DatabaseThread, Kept
from server.evaluations.flags import environment_of, flag_keys, published_of
from server.http.failures import JSON, Refused
from server.state.snapshots import SnapshotFiles
from server.state.store import Store
from server.types import EnvironmentId

PAGE = 100
LARGEST_PAGE = 1000
COLUMNS = ("environment", "flag", "variant", "count", "firstAt", "lastAt")
PARAMETERS = {"environment", "tenant", "flag", "all", "limit", "after"}

Place = tuple[str, str, str]  # environment, flag, variant: where a page ends
_place = msgspec.json.Decoder(Place).decode


class Export:
    def __init__(self, database: DatabaseThread, store: Store, files: SnapshotFiles) -> None:
        self._database = database
        self._store = store
        self._files = files

    async def evaluations(self, request: web.Request) -> web.Response:
        query = request.query
        if unknown := sorted(set(query) - PARAMETERS):
            raise Refused(400, f"there is no parameter `{unknown[0]}`")
        environment, flag, limit = _environment(query.get("environment")), query.get("flag"), _limit(query.get("limit"))
        if query.get("all") not in (None, "true", "false"):
            raise Refused(400, "`all` must be `true` or `false`")
        never = query.get("all") == "true"
        if never and environment is None:
            raise Refused(400, "`all` needs an `environment`")
        least, below = _range(environment, query.get("tenant"))
        after = _after(query.get("after"))
        try:
            rows = await self._database.call(
                lambda each: each.rows(least, below, flag=flag, after=after, limit=limit + 1)
            )
            if environment is not None:
                if never:
                    rows = sorted([*rows, *await self._never(environment, flag, after)])
                if not rows and published_of(self._store, environment) is None:
                    raise Refused(404, "there is no such environment")
        except (sqlite3.Error, SnapshotError, OSError):
            raise Refused(503, "the counts cannot be read for now", headers={"Retry-After": "5"}) from None
        page = rows[:limit]
        following = _token(page[-1]) if len(rows) > limit else None
        if "text/csv" in request.headers.get("Accept", ""):
            return _csv(request, page, following)
        body = {"evaluations": [dict(zip(COLUMNS, _cells(each), strict=True)) for each in page], "next": following}
        return web.Response(body=msgspec.json.encode(body), content_type=JSON, headers={"Cache-Control": "no-store"})

    async def _never(self, environment: EnvironmentId, flag: str | None, after: Place) -> list[Kept]:
        """A row for each flag that has none."""
        name = str(environment)
        known = await self._database.call(lambda each: each.flags(name))
        missing = [each for each in await flag_keys(self._store, self._files, environment) if each not in known]
        return [
            Kept(name, each, "", 0, None, None) for each in missing if (name, each, "") > after and flag in (None, each)
        ]


def _environment(text: str | None) -> EnvironmentId | None:
    if text is None:
        return None
    environment = environment_of(text)
    if environment is None:
        raise Refused(400, "`environment` must be as `shop/web/production`")
    return environment


def _range(environment: EnvironmentId | None, tenant: str | None) -> tuple[str, str]:
    """The names of environments that are meant: the least, and the least that is beyond them."""
    if environment is not None:
        if tenant not in (None, environment.tenant):
            raise Refused(400, "the environment is not one of the tenant")
        return str(environment), f"{environment}\0"
    return (f"{tenant}/", f"{tenant}0") if tenant is not None else ("", "\U0010ffff")  # 0 follows /


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LARGEST_PAGE:
        raise Refused(400, f"`limit` must be a number from 1 to {LARGEST_PAGE}")
    return int(text)


def _token(row: Kept) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(row[:3])).decode().rstrip("=")


def _after(text: str | None) -> Place:
    if not text:
        return "", "", ""
    try:
        place: Place = _place(base64.urlsafe_b64decode(f"{text}==="))
        return place
    except ValueError:
        raise Refused(400, "`after` must be the `next` of the page before") from None


def _cells(row: Kept) -> tuple[Any, ...]:
    return row.environment, row.flag, row.variant or None, row.evaluations, _moment(row.first_at), _moment(row.last_at)


def _moment(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _csv(request: web.Request, page: list[Kept], following: str | None) -> web.Response:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([["" if cell is None else cell for cell in _cells(each)] for each in page])
    headers = {"Cache-Control": "no-store"}
    if following:
        headers["Link"] = f'<{request.rel_url.update_query(after=following)}>; rel="next"'
    return web.Response(text=text.getvalue(), content_type="text/csv", headers=headers)
