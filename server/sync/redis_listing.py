"""What Redis says there is, read with the care that a place deserves where others may have written.

await read_listing(redis)           Listed({ProjectId("shop", "web"): 18}, unreadable=0)
unpacked_record(body)               ProjectRecord("shop", "web", …), or None for what is none
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from redis.exceptions import ResponseError

from server.state.records import ProjectRecord
from server.sync.messages import decode_record, project_named
from server.sync.redis_client import RedisClient
from server.sync.redis_keys import LISTING, number_in
from server.types import ProjectId

MOST_PROJECTS: Final = 200_000  # of a listing that is read at all


class Listed(NamedTuple):
    projects: dict[ProjectId, int]
    unreadable: int  # entries, or 1 for all of it


async def read_listing(redis: RedisClient) -> Listed:
    """Raises what is in `redis_client.FAILURES`."""
    try:
        if await redis.ask("HLEN", LISTING) > MOST_PROJECTS:
            return Listed({}, 1)
        entries: dict[bytes, bytes] = await redis.ask("HGETALL", LISTING)
    except ResponseError as error:
        if is_of_another_type(error):
            return Listed({}, 1)
        raise
    projects = {}
    for name, text in entries.items():
        project, number = project_in(name), number_in(text)
        if project is not None and number:
            projects[project] = number
    return Listed(projects, len(entries) - len(projects))


def project_in(name: bytes) -> ProjectId | None:
    try:
        return project_named(name.decode("ascii"))
    except UnicodeDecodeError:
        return None


def unpacked_record(body: Any) -> ProjectRecord | None:
    try:
        return decode_record(body)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError, OverflowError):
        return None


def is_of_another_type(error: ResponseError) -> bool:
    """Somebody else has put something of another kind under a name of ours."""
    return str(error).startswith("WRONGTYPE")
