"""Environments of a project, and how each is published.

POST …/environments {"name": "staging", "settings": {"approvals": 1}}     201 {"name": "staging", "version": 0, …}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import RowMapping

from server.control.api.frame import BASE, Answer, Call, Page, PageQuery, Route, found, page_of
from server.control.api.values import Moment, Name, checked_name, moment_of, stored_as
from server.control.problems import exists, invalid
from server.control.roles import Need, Role
from server.record import environments, tenants
from server.record.database import Transaction
from server.record.environments import EnvironmentExistsError
from server.sources.key_file import odd_origins
from server.types import EnvironmentId

Share = Annotated[float, Meta(ge=0, le=1)]
LintGate = Literal["error", "warning", "off"]
Origins = Annotated[tuple[Annotated[str, Meta(max_length=512)], ...], Meta(max_length=1000)]


class EnvironmentSettings(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    approvals: Annotated[int, Meta(ge=0, le=100)] = 0  # by others than the author
    lint_gate: LintGate = "error"  # the least severe diagnostic that keeps a draft from being published
    impact_threshold: Share | None = None  # share of the sampled contexts that one flag may flip for
    sample_contexts: bool = False  # keep recent contexts, hashed, for that
    origins: Origins = ()  # web pages that may use its client keys
    canary_share: Share = 0.0  # of the workers that get a publish first; 0: all get it at once
    canary_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 60.0  # until the others get it


class SettingsChange(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is left out stays."""

    approvals: Annotated[int, Meta(ge=0, le=100)] | UnsetType = UNSET
    lint_gate: LintGate | UnsetType = UNSET
    impact_threshold: Share | None | UnsetType = UNSET
    sample_contexts: bool | UnsetType = UNSET
    origins: Origins | UnsetType = UNSET
    canary_share: Share | UnsetType = UNSET
    canary_seconds: Annotated[float, Meta(ge=1, le=86_400)] | UnsetType = UNSET


class NewEnvironment(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    name: Name
    settings: EnvironmentSettings = EnvironmentSettings()


class EnvironmentChange(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    settings: SettingsChange


class Environment(msgspec.Struct, frozen=True, rename="camel"):
    tenant: str
    project: str
    name: str
    version: int  # the newest there is; 0: nothing was published
    live_version: int  # what hosts are told to serve
    paused: bool
    pinned_version: int | None
    settings: EnvironmentSettings
    revision: int  # of the settings
    created_at: Moment


def settings_of(row: RowMapping) -> EnvironmentSettings:
    return stored_as(EnvironmentSettings, row["settings"])


def _environment(row: RowMapping) -> Environment:
    return Environment(
        tenant=row["tenant"],
        project=row["project"],
        name=row["name"],
        version=row["version"],
        live_version=row["live_version"],
        paused=row["paused"],
        pinned_version=row["pinned_version"],
        settings=settings_of(row),
        revision=row["revision"],
        created_at=moment_of(row["created_at"]),
    )


def _written(settings: EnvironmentSettings) -> Mapping[str, Any]:
    """Raises ProblemError."""
    for odd in odd_origins({"settings": settings.origins}):
        place, _, message = odd.partition(": ")
        raise invalid(place.replace("origins.settings", "settings.origins"), message)
    found_settings: Mapping[str, Any] = msgspec.to_builtins(settings)
    return found_settings


async def _answer(tx: Transaction, environment: EnvironmentId, status: int = 200) -> Answer:
    row = _environment(found(await environments.find_environment(tx, environment)))
    return Answer(row, status, etag=row.revision)


async def listed(call: Call[None, PageQuery]) -> Answer:
    query = call.query
    async with call.parts.record.look() as tx:
        found(await tenants.project_row(tx, call.project))
        rows = await environments.environment_rows(tx, call.project, after=query.after, limit=query.limit + 1)
    return Answer(page_of([_environment(each) for each in rows], query.limit, lambda each: each.name))


async def create(call: Call[NewEnvironment, None]) -> Answer:
    environment = EnvironmentId(*call.project, checked_name(call.body.name))
    settings = _written(call.body.settings)

    async def work(tx: Transaction) -> Answer:
        found(await tenants.project_row(tx, call.project, lock=True))
        try:
            number = await environments.create_environment(tx, environment, settings=settings, by=call.actor)
        except EnvironmentExistsError:
            raise exists("environment", environment.environment) from None
        call.tell(call.project, number)
        answer = await _answer(tx, environment, 201)
        tenant, project, name = environment
        return answer.at(f"{BASE}/tenants/{tenant}/projects/{project}/environments/{name}")

    return await call.change(work)


async def get(call: Call[None, None]) -> Answer:
    async with call.parts.record.look() as tx:
        return await _answer(tx, call.environment)


async def change(call: Call[EnvironmentChange, None]) -> Answer:
    changed = call.body.settings

    async def work(tx: Transaction) -> Answer:
        row = found(await environments.find_environment(tx, call.environment, lock=True))
        call.require_match(row["revision"], _environment(row))
        old = settings_of(row)
        given = {each: value for each in changed.__struct_fields__ if (value := getattr(changed, each)) is not UNSET}
        new = msgspec.structs.replace(old, **given)
        settings = {**msgspec.json.decode(row["settings"]), **_written(new)}
        number = await environments.change_environment(
            tx, call.environment, settings=settings, hosts=new.origins != old.origins, by=call.actor
        )
        if number is not None:
            call.tell(call.project, number)
        return await _answer(tx, call.environment)

    return await call.change(work)


async def remove(call: Call[None, None]) -> Answer:
    async def work(tx: Transaction) -> Answer:
        row = found(await environments.find_environment(tx, call.environment, lock=True))
        call.require_match(row["revision"], _environment(row))
        call.tell(call.project, await environments.delete_environment(tx, call.environment, by=call.actor))
        return Answer(status=204)

    return await call.change(work)


_ALL = "/tenants/{tenant}/projects/{project}/environments"
_ONE = _ALL + "/{environment}"
_SEEN = Need(Role.VIEWER)

ROUTES = (
    Route(
        "environments_list", "GET", _ALL, _SEEN, listed, "environments of a project", answer=Page[Environment],
        query=PageQuery,
    ),
    Route(
        "environment_create", "POST", _ALL, Need(Role.ADMIN), create, "make an environment", answer=Environment,
        status=201, statuses=(409,), body=NewEnvironment,
    ),
    Route("environment_get", "GET", _ONE, _SEEN, get, "one environment", answer=Environment),
    Route(
        "environment_change", "PATCH", _ONE, Need(Role.ADMIN), change, "change its settings", answer=Environment,
        body=EnvironmentChange, conditional=True,
    ),
    Route(
        "environment_delete", "DELETE", _ONE, Need(Role.ADMIN), remove, "delete it; hosts stop serving it", status=204,
        conditional=True,
    ),
)  # fmt: skip
