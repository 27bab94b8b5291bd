"""Keys of the instance, of tenants and of projects. A key is shown once, in the answer that makes it.

    POST …/tenants/shop/keys {"kind": "server", "project": "web", "environments": ["production"]}
    201 {"selector": "4fZ0k9QmX2aPb7Lc", "key": "burgee_server_4fZ0…", …}

With `selector` and `sha256` instead, a key that exists elsewhere becomes known here; nobody learns it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import RowMapping

from server import keys as text_of_keys
from server.control.api.frame import BASE, Answer, Call, Page, PageQuery, Route, found, page_of
from server.control.api.values import Moment, Name, Title, moment_of, seconds_of
from server.control.problems import ProblemError, forbidden, invalid, not_found
from server.control.roles import Need, Role
from server.record import environments, keys, tenants
from server.record.database import Transaction
from server.record.keys import KeyExistsError
from server.types import EVALUATING, EnvironmentId, KeyKind, ProjectId

Kind = Literal["server", "client", "edge", "admin"]
RoleName = Literal["viewer", "editor", "admin", "owner"]


class NewKey(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    kind: Kind
    project: Name | UnsetType = UNSET  # left out: the whole tenant, for edge and admin keys
    environments: Annotated[tuple[Name, ...], Meta(max_length=1000)] = ()  # none: every one
    role: RoleName | UnsetType = UNSET  # of admin keys
    name: Title = ""
    expires_at: Moment | None = None
    selector: Annotated[str, Meta(pattern="^[0-9A-Za-z]{16}$", max_length=16)] | UnsetType = UNSET  # with sha256
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)] | UnsetType = UNSET  # of the whole key


class KeyChange(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is left out stays."""

    name: Title | UnsetType = UNSET
    expires_at: Moment | None | UnsetType = UNSET


class Key(msgspec.Struct, frozen=True, rename="camel"):
    selector: str
    kind: Kind
    tenant: str  # empty: the instance
    project: str  # empty: the tenant
    environments: tuple[str, ...]  # none: every one
    role: RoleName | None
    name: str
    state: Literal["active", "expired", "revoked"]
    revision: int
    created_at: Moment
    created_by: str
    expires_at: Moment | None
    revoked_at: Moment | None
    # Of the whole key, for admins: with it another control plane can take the key over; nobody can use it.
    sha256: str | None = None


class MadeKey(Key, frozen=True, rename="camel"):
    key: str | None = None  # null for one that is known by its digest alone, and where the answer is given again


def _key(row: RowMapping, call: Call[Any, Any]) -> Key:
    now = moment_of(keys.now())
    expires, revoked = _maybe(row["expires_at"]), _maybe(row["revoked_at"])
    return Key(
        selector=row["selector"],
        kind=row["kind"],
        tenant=row["tenant"],
        project=row["project"],
        environments=msgspec.json.decode(row["environments"], type=tuple[str, ...]),
        role=row["role"] or None,
        name=row["name"],
        state="revoked" if revoked else "expired" if expires is not None and expires <= now else "active",
        revision=row["revision"],
        created_at=moment_of(row["created_at"]),
        created_by=row["created_by"],
        expires_at=expires,
        revoked_at=revoked,
        sha256=row["digest"] if call.principal.may(Role.ADMIN) else None,
    )


def _maybe(seconds: float | None) -> Any:
    return None if seconds is None else moment_of(seconds)


async def listed(call: Call[None, PageQuery]) -> Answer:
    """Those of the tenant, or of the part of it that the key reaches; those of the instance itself."""
    tenant, query = call.path.get("tenant", ""), call.query
    async with call.parts.record.look() as tx:
        await _exists(tx, tenant)
        part, limit = call.principal.project, query.limit + 1
        rows = await keys.key_rows(tx, tenant, project=part, after=query.after, limit=limit)
    return Answer(page_of([_key(each, call) for each in rows], query.limit, lambda each: each.selector))


async def get(call: Call[None, None]) -> Answer:
    async with call.parts.record.look() as tx:
        key = _key(await _row(tx, call), call)
    return Answer(key, etag=key.revision)


async def create(call: Call[NewKey, None]) -> Answer:
    tenant, body, kind = call.path.get("tenant", ""), call.body, KeyKind(call.body.kind)
    project = "" if body.project is UNSET else body.project
    _check(body, kind, tenant, project)
    if not call.principal.reaches(tenant, project):
        raise forbidden("the key is for a part of this only")
    role = Role(body.role) if body.role is not UNSET else None
    if role is not None and not call.principal.may(Role.OWNER):
        raise forbidden("admin keys are made by owners")
    made = None
    if body.selector is UNSET or body.sha256 is UNSET:
        made = text_of_keys.new_key(kind)
        selector, digest = text_of_keys.selector_of(made) or "", text_of_keys.digest_of(made).hex()
    else:
        selector, digest = body.selector, body.sha256
    expires = None if body.expires_at is None else seconds_of(body.expires_at, "expiresAt")
    key = keys.NewKey(
        selector, digest, kind, tenant, project, body.environments, role or "", body.name, expires_at=expires
    )

    async def work(tx: Transaction) -> Answer:
        await _exists(tx, tenant)
        await _check_environments(tx, tenant, project, body.environments)
        try:
            number = await keys.add_key(tx, key, by=call.actor)
        except KeyExistsError:
            raise ProblemError(409, "exists", "there is a key with that selector or digest already") from None
        if number is not None:
            call.tell(ProjectId(tenant, project), number)
        row = _key(found(await keys.key_row(tx, selector)), call)
        without = MadeKey(**msgspec.structs.asdict(row))
        whole = msgspec.structs.replace(without, key=made)
        return Answer(whole, 201, etag=row.revision, location=f"{_base(tenant)}/keys/{selector}", kept=without)

    return await call.change(work)


async def change(call: Call[KeyChange, None]) -> Answer:
    body = call.body
    values: dict[str, Any] = {} if body.name is UNSET else {"name": body.name}
    if body.expires_at is not UNSET:
        values["expires_at"] = None if body.expires_at is None else seconds_of(body.expires_at, "expiresAt")

    async def work(tx: Transaction) -> Answer:
        row = await _row(tx, call, lock=True)
        _check_owner(call, row)
        call.require_match(row["revision"], _key(row, call))
        if row["revoked_at"] is not None:
            raise ProblemError(409, "revoked", "the key is revoked, for good")
        await _check_last_owner(tx, row, values.get("expires_at"))
        return await _changed(tx, call, row, await keys.change_key(tx, row, values, by=call.actor))

    return await call.change(work)


async def revoke(call: Call[None, None]) -> Answer:
    """Without If-Match: a key that leaked is revoked whatever it has become. Again, it changes nothing."""

    async def work(tx: Transaction) -> Answer:
        row = await _row(tx, call, lock=True)
        _check_owner(call, row)
        if row["revoked_at"] is not None:
            return Answer(_key(row, call), etag=row["revision"])
        await _check_last_owner(tx, row, keys.now())
        return await _changed(tx, call, row, await keys.revoke_key(tx, row, by=call.actor))

    return await call.change(work)


async def _changed(tx: Transaction, call: Call[Any, Any], row: RowMapping, number: int | None) -> Answer:
    if number is not None:
        call.tell(ProjectId(row["tenant"], row["project"]), number)
    key = _key(found(await keys.key_row(tx, row["selector"])), call)
    return Answer(key, etag=key.revision)


def _check(body: NewKey, kind: KeyKind, tenant: str, project: str) -> None:
    """Raises ProblemError."""
    if project and not tenant:
        raise invalid("project", "a key of the instance has none")
    if kind in EVALUATING and not project:
        raise invalid("project", f"a key of kind `{kind}` belongs to one project")
    if (kind is KeyKind.ADMIN) != (body.role is not UNSET):
        raise invalid("role", "admin keys have one, and no others")
    if body.environments and (kind is KeyKind.ADMIN or not project):
        raise invalid("environments", "only a key of a project that is no admin key is for some of them")
    if (body.selector is UNSET) != (body.sha256 is UNSET):
        raise invalid("sha256", "goes with `selector`")


async def _check_environments(tx: Transaction, tenant: str, project: str, names: tuple[str, ...]) -> None:
    """Raises ProblemError. The project's row stays locked: it is not deleted meanwhile."""
    if project and await tenants.project_row(tx, ProjectId(tenant, project), lock=True) is None:
        raise invalid("project", "there is no such project")
    for place, name in enumerate(names):
        if await environments.find_environment(tx, EnvironmentId(tenant, project, name)) is None:
            raise invalid(f"environments[{place}]", "there is no such environment")


def _check_owner(call: Call[Any, Any], row: RowMapping) -> None:
    if row["kind"] == KeyKind.ADMIN and not call.principal.may(Role.OWNER):
        raise forbidden("admin keys are changed by owners")


async def _check_last_owner(tx: Transaction, row: RowMapping, ends: float | None) -> None:
    """Raises ProblemError where nobody would own the instance once this key has ended, earlier than it did."""
    if row["tenant"] or row["role"] != Role.OWNER or ends is None:
        return
    if row["expires_at"] is not None and row["expires_at"] <= ends:
        return  # it goes on for longer
    if not await keys.other_owners(tx, row["selector"], until=ends):
        raise ProblemError(409, "last-owner", "it is the last owner of the instance (hint: make another first)")


async def _exists(tx: Transaction, tenant: str) -> None:
    if tenant:
        found(await tenants.tenant_row(tx, tenant))


async def _row(tx: Transaction, call: Call[Any, Any], *, lock: bool = False) -> RowMapping:
    """404 for those of others. Of the project that a key is for, it sees the keys."""
    row = found(await keys.key_row(tx, call.path["selector"], lock=lock))
    if row["tenant"] != call.path.get("tenant", "") or not call.principal.reaches(row["tenant"], row["project"]):
        raise not_found()
    return row


def _base(tenant: str) -> str:
    return f"{BASE}/tenants/{tenant}" if tenant else BASE


def _routes(prefix: str, path: str, whose: str) -> tuple[Route, ...]:
    every, one = f"{path}/keys", f"{path}/keys/{{selector}}"
    seen, admin = Need(Role.VIEWER, in_part=bool(path)), Need(Role.ADMIN, in_part=bool(path))
    return (
        Route(f"{prefix}keys_list", "GET", every, seen, listed, f"keys of {whose}", answer=Page[Key], query=PageQuery),
        Route(
            f"{prefix}key_create", "POST", every, admin, create, "make a key, or take one over by its digest",
            answer=MadeKey, status=201, statuses=(409,), body=NewKey,
        ),
        Route(f"{prefix}key_get", "GET", one, seen, get, "one key", answer=Key),
        Route(
            f"{prefix}key_change", "PATCH", one, admin, change, "change its name, or when it expires", answer=Key,
            statuses=(409,), body=KeyChange, conditional=True,
        ),
        Route(
            f"{prefix}key_revoke", "POST", f"{one}/revoke", admin, revoke, "revoke it, for good", answer=Key,
            statuses=(409,),
        ),
    )  # fmt: skip


ROUTES = (*_routes("instance_", "", "the instance"), *_routes("", "/tenants/{tenant}", "a tenant"))
