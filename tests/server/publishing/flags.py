"""Flags to edit and publish, as JSON has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.control.publishing.documents import packed
from server.control.publishing.drafting import keep_draft, prepare_working_draft
from server.control.publishing.impact import Context
from server.control.publishing.publish import Committed, Desk, commit_alone, prepare_publish
from server.record.audit import Actor
from server.record.definitions import Kind, get_definition, put_definition
from server.record.drafts import Draft
from server.record.history import environment_row
from server.types import EnvironmentId
from tests.server.record.rows import ALICE, PRODUCTION

BOB = Actor("bob")


def text(value: str = "one", **more: Any) -> dict[str, Any]:
    return {"type": "string", "variants": {"a": value, "b": "other"}, "fallthrough": "a", "offVariant": "b", **more}


def switch(**more: Any) -> dict[str, Any]:
    return {"type": "boolean", "variants": {"on": True, "off": False}, "fallthrough": "on", "offVariant": "off", **more}


def thing(**more: Any) -> dict[str, Any]:
    return {"type": "object", "variants": {"x": {"n": 1}, "y": {"n": 2}}, "fallthrough": "x", **more}


async def edit(desk: Desk, key: str, body: dict[str, Any], kind: Kind = "flag") -> int:
    """As whoever saw the newest would; its revision."""
    async with desk.record.change() as tx:
        row = await get_definition(tx, PRODUCTION.project_id, kind, key)
        expected = row.revision if row is not None else None
        made = await put_definition(tx, PRODUCTION.project_id, kind, key, packed(body), expected=expected, by=ALICE)
    return made.revision


async def make_draft(desk: Desk, by: Actor = ALICE, contexts: Sequence[Context] = ()) -> Draft:
    prepared = await prepare_working_draft(desk, PRODUCTION, contexts=contexts)
    async with desk.record.change() as tx:
        return await keep_draft(tx, prepared, by=by)


async def publish(desk: Desk, environment: EnvironmentId = PRODUCTION) -> Committed:
    async with desk.record.look() as tx:
        expected = (await environment_row(tx, environment)).version
    return await commit_alone(desk, await prepare_publish(desk, environment, expected=expected), by=ALICE)
