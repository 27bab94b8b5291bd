"""Webhooks of a tenant: whom it wants told of what.

POST …/webhooks {"url": "https://ci.example/burgee", "events": ["publish"]}
201 {"id": "6f1d…", "secret": "whsec_…", …}             the secret is shown once, and signs what is sent
"""

from __future__ import annotations

import secrets
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import RowMapping

from server.control.api.frame import BASE, Answer, Call, Page, PageQuery, Route, found, page_of
from server.control.api.values import Moment, moment_of
from server.control.problems import ProblemError, invalid
from server.control.roles import Need, Role
from server.record import tenants, webhooks
from server.record.database import Transaction

MOST = 50  # of a tenant

Event = Literal["publish", "approval", "canary.halt"]
Url = Annotated[str, Meta(max_length=2048)]
Secret = Annotated[str, Meta(min_length=16, max_length=128)]


class WebhookBody(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    url: Url
    events: Annotated[tuple[Event, ...], Meta(min_length=1, max_length=3)]
    secret: Secret | UnsetType = UNSET  # left out: one is made, or the one there is stays


class Webhook(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    url: str
    events: tuple[Event, ...]
    revision: int
    created_at: Moment


class MadeWebhook(Webhook, frozen=True, rename="camel"):
    secret: str | None = None  # null where the answer is given again


def _webhook(row: RowMapping) -> Webhook:
    events = msgspec.json.decode(row["events"], type=tuple[Event, ...])
    return Webhook(row["id"], row["url"], events, row["revision"], moment_of(row["created_at"]))


def checked_url(url: str) -> str:
    """Where it leads is looked at when something is sent. Raises ProblemError."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise invalid("url", "must be an address like `https://ci.example.com/burgee`")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise invalid("url", "must have no user, password or fragment")
    return url


async def listed(call: Call[None, PageQuery]) -> Answer:
    tenant, query = call.path["tenant"], call.query
    async with call.parts.record.look() as tx:
        found(await tenants.tenant_row(tx, tenant))
        rows = await webhooks.webhook_rows(tx, tenant, after=query.after, limit=query.limit + 1)
    return Answer(page_of([_webhook(each) for each in rows], query.limit, lambda each: each.id))


async def create(call: Call[WebhookBody, None]) -> Answer:
    tenant, body = call.path["tenant"], call.body
    url, events = checked_url(body.url), tuple(dict.fromkeys(body.events))
    secret = f"whsec_{secrets.token_urlsafe(32)}" if body.secret is UNSET else body.secret

    async def work(tx: Transaction) -> Answer:
        found(await tenants.tenant_row(tx, tenant, lock=True))
        if len(await webhooks.webhook_rows(tx, tenant, after="", limit=MOST)) == MOST:
            raise ProblemError(409, "too-many", f"a tenant has at most {MOST} webhooks")
        id = await webhooks.create_webhook(tx, tenant, url=url, secret=secret, events=events, by=call.actor)
        row = _webhook(found(await webhooks.webhook_row(tx, tenant, id)))
        without = MadeWebhook(**msgspec.structs.asdict(row))
        whole = msgspec.structs.replace(without, secret=secret)
        return Answer(whole, 201, etag=1, location=f"{BASE}/tenants/{tenant}/webhooks/{id}", kept=without)

    return await call.change(work)


async def get(call: Call[None, None]) -> Answer:
    async with call.parts.record.look() as tx:
        webhook = _webhook(found(await webhooks.webhook_row(tx, call.path["tenant"], call.path["id"])))
    return Answer(webhook, etag=webhook.revision)


async def replace(call: Call[WebhookBody, None]) -> Answer:
    tenant, id, body = call.path["tenant"], call.path["id"], call.body
    url, events = checked_url(body.url), tuple(dict.fromkeys(body.events))
    secret = None if body.secret is UNSET else body.secret

    async def work(tx: Transaction) -> Answer:
        row = _webhook(found(await webhooks.webhook_row(tx, tenant, id, lock=True)))
        call.require_match(row.revision, row)
        await webhooks.change_webhook(tx, tenant, id, url=url, secret=secret, events=events, by=call.actor)
        row = _webhook(found(await webhooks.webhook_row(tx, tenant, id)))
        return Answer(row, etag=row.revision)

    return await call.change(work)


async def remove(call: Call[None, None]) -> Answer:
    tenant, id = call.path["tenant"], call.path["id"]

    async def work(tx: Transaction) -> Answer:
        row = _webhook(found(await webhooks.webhook_row(tx, tenant, id, lock=True)))
        call.require_match(row.revision, row)
        await webhooks.delete_webhook(tx, tenant, id, by=call.actor)
        return Answer(status=204)

    return await call.change(work)


_ALL, _ONE = "/tenants/{tenant}/webhooks", "/tenants/{tenant}/webhooks/{id}"
_ADMIN = Need(Role.ADMIN)  # also to read: an address is often a secret in itself

ROUTES = (
    Route("webhooks_list", "GET", _ALL, _ADMIN, listed, "webhooks of a tenant", answer=Page[Webhook], query=PageQuery),
    Route(
        "webhook_create", "POST", _ALL, _ADMIN, create, "make a webhook", answer=MadeWebhook, status=201,
        statuses=(409,), body=WebhookBody,
    ),
    Route("webhook_get", "GET", _ONE, _ADMIN, get, "one webhook", answer=Webhook),
    Route(
        "webhook_replace", "PUT", _ONE, _ADMIN, replace, "replace it", answer=Webhook, body=WebhookBody,
        conditional=True,
    ),
    Route("webhook_delete", "DELETE", _ONE, _ADMIN, remove, "delete it", status=204, conditional=True),
)  # fmt: skip
