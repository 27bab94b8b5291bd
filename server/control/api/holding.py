"""Hosts that stay at what they have: /pause and /resume of all, a tenant, a project, an environment; /pin of one.

    POST /tenants/shop/pause        {"paused": true}: versions go on, hosts of that tenant do not follow

They need no If-Match: whoever pauses at three in the morning means it, and twice is as once.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from server.control.api.frame import Answer, Call, Route
from server.control.api.publishing import PATH
from server.control.api.publishing_problems import as_problems
from server.control.publishing.holding import Scope, pin, set_paused
from server.control.roles import Need, Role
from server.record.database import Transaction
from server.record.history import environment_row


class Hold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: Annotated[str, Meta(max_length=2000)] = ""  # for the audit


class Paused(msgspec.Struct, frozen=True):
    paused: bool  # itself, whatever is above it
    projects: int  # whose hosts are told to go on


class Pin(Hold, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=1)] | None = None  # null: the one that is live


class Pinned(msgspec.Struct, frozen=True, rename="camel"):
    pinned_version: int | None
    live_version: int


def _scope(call: Call[Any, Any]) -> Scope:
    return Scope(call.path.get("tenant", ""), call.path.get("project", ""), call.path.get("environment", ""))


async def pause(call: Call[Hold, None]) -> Answer:
    return await _hold(call, True)


async def resume(call: Call[Hold, None]) -> Answer:
    return await _hold(call, False)


async def pin_it(call: Call[Pin, None]) -> Answer:
    async def work(tx: Transaction) -> Answer:
        version = call.body.version
        if version is None:
            version = (await environment_row(tx, call.environment, lock=True)).live_version
        return await _pin(tx, call, version)

    with as_problems():
        return await call.change(work)


async def unpin(call: Call[Hold, None]) -> Answer:
    async def work(tx: Transaction) -> Answer:
        return await _pin(tx, call, None)

    with as_problems():
        return await call.change(work)


async def _hold(call: Call[Hold, None], paused: bool) -> Answer:
    async def work(tx: Transaction) -> Answer:
        told = await set_paused(tx, _scope(call), paused, by=call.actor, reason=call.body.reason)
        call.tell_all(told)
        return Answer(Paused(paused, len(told)))

    with as_problems():
        return await call.change(work)


async def _pin(tx: Transaction, call: Call[Any, Any], version: int | None) -> Answer:
    call.tell_all(await pin(tx, call.environment, version, by=call.actor, reason=call.body.reason))
    row = await environment_row(tx, call.environment)
    return Answer(Pinned(row.pinned_version, row.live_version))


_ADMIN = Need(Role.ADMIN)
_LEVELS = (
    ("instance", ""),
    ("tenant", "/tenants/{tenant}"),
    ("project", "/tenants/{tenant}/projects/{project}"),
    ("environment", PATH),
)
ROUTES = (
    *(
        Route(
            f"{level}_pause", "POST", f"{path}/pause", _ADMIN, pause, "hosts stay at what they have",
            answer=Paused, body=Hold, body_optional=True,
        )
        for level, path in _LEVELS
    ),
    *(
        Route(
            f"{level}_resume", "POST", f"{path}/resume", _ADMIN, resume, "hosts go on to the newest",
            answer=Paused, body=Hold, body_optional=True,
        )
        for level, path in _LEVELS
    ),
    Route(
        "environment_pin", "POST", f"{PATH}/pin", _ADMIN, pin_it, "hosts stay at one version",
        answer=Pinned, body=Pin, body_optional=True, statuses=(409,),
    ),
    Route(
        "environment_unpin", "POST", f"{PATH}/unpin", _ADMIN, unpin, "hosts go on to the newest",
        answer=Pinned, body=Hold, body_optional=True,
    ),
)  # fmt: skip
