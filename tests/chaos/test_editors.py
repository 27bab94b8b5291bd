"""Many who edit the same flags at once, each reading, adding one and writing back: no update is lost.

Whoever gets 412 reads again. The control plane dies in the middle; a write that was not answered may have happened, and
is known by the editor's own mark in the flag.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from tests.chaos.host import scaled
from tests.chaos.world import World

EDITORS = scaled(60, 500)
FLAGS = scaled(6, 20)
PROJECT = "/api/v1/tenants/shop/projects/edited"


def flag_of(marks: list[str]) -> dict[str, Any]:
    return {"type": "integer", "variants": {"v": len(marks)}, "fallthrough": "v", "description": " ".join(marks)}


def marks_in(flag: dict[str, Any]) -> list[str]:
    marks = str(flag["description"]).split()
    assert flag["variants"]["v"] == len(marks), "half of a write"
    return marks


async def ask(
    session: aiohttp.ClientSession, method: str, path: str, body: Any = None, tag: str = ""
) -> tuple[int, str, Any]:
    """Status 0: nothing was answered."""
    try:
        async with session.request(method, path, json=body, headers={"If-Match": tag} if tag else {}) as reply:
            content = await reply.json() if reply.content_length else None
            return reply.status, reply.headers.get("ETag", ""), content
    except (aiohttp.ClientError, OSError, TimeoutError):
        return 0, "", None


async def edit(session: aiohttp.ClientSession, number: int) -> None:
    path, mark = f"{PROJECT}/flags/counter-{number % FLAGS}", f"e{number}"
    while True:
        status, tag, flag = await ask(session, "GET", path)
        if status == 200:
            marks = marks_in(flag)
            if mark in marks:
                return
            status, _, answer = await ask(session, "PUT", path, flag_of([*marks, mark]), tag)
            if status == 200:
                return
        assert status in (0, 200, 412, 503), (status, answer if status else None)
        await asyncio.sleep(0.02)


async def edit_all(it: World) -> list[str]:
    headers = {"Authorization": f"Bearer {it.admin_key}"}
    limits = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(it.control_url, headers=headers, timeout=limits) as session:
        for path, body in (
            ("/api/v1/tenants/shop/projects", {"name": "edited"}),
            (f"{PROJECT}/environments", {"name": "production"}),
        ):
            status, _, answer = await ask(session, "POST", path, body)
            assert status == 201, answer
        for number in range(FLAGS):
            status, _, answer = await ask(session, "PUT", f"{PROJECT}/flags/counter-{number}", flag_of([]))
            assert status == 201, answer
        editing = asyncio.gather(*(edit(session, number) for number in range(EDITORS)))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(it.near.kill_slot, "burgee-control")
        await editing
        found = []
        for number in range(FLAGS):
            _, _, flag = await ask(session, "GET", f"{PROJECT}/flags/counter-{number}")
            found += marks_in(flag)
        return found


def test_nobody_loses_an_update(embedded: World) -> None:
    found = asyncio.run(edit_all(embedded))
    assert sorted(found) == sorted(f"e{number}" for number in range(EDITORS))
