"""What Burgee keeps in Redis, by name, and the scripts that only ever raise it (ADR 0016).

    burgee:of                           the id of the record whose Redis this is
    burgee:{shop}:web:record            hash: number, body (the project's record, MessagePack)
    burgee:{shop}:snapshot:<digest>     zstd of the snapshot
    burgee:listing                      hash: shop/web -> number
    burgee:changes                      stream: project, number
    burgee:doorbell                     channel: "shop/web 17"

`{shop}` is what Redis hashes, so all of a tenant is in one slot of a cluster, and tenants are in many.

**SET_RECORD** writes a record if its number is higher than the one that is there, and answers with what it did and the
number that is there afterwards:

    written     it was higher, or there was none, or what was there is no record
    same        it is there already
    other       another body has this number: nothing is written. Two records of truth have met, or somebody else writes
    higher      a higher number is there: nothing is written

**RAISE_LISTING** does the same for any number of (project, number) of the listing, and answers with how many it wrote.

A number is up to 16 digits, which Lua's doubles hold exactly up to 2^53; anything else counts as none.
"""

from __future__ import annotations

from typing import Final

from server.types import ProjectId

OWNER: Final = "burgee:of"
LISTING: Final = "burgee:listing"
CHANGES: Final = "burgee:changes"
DOORBELL: Final = "burgee:doorbell"

CHANGES_KEPT: Final = 10_000  # entries of the stream, or a few more
SNAPSHOT_EXPIRES: Final = 7 * 24 * 3600  # seconds after a relay last saw a record that names it

_NUMBER = """
local function number_of(text)
  if text and #text <= 16 and string.match(text, '^%d+$') then return tonumber(text) end
  return nil
end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
"""

SET_RECORD: Final = (
    _NUMBER
    + """
local there = redis.call('HMGET', KEYS[1], 'number', 'body')
local number = number_of(there[1])
if number and there[2] then
  if number > tonumber(ARGV[1]) then return {'higher', there[1]} end
  if number == tonumber(ARGV[1]) then
    if there[2] == ARGV[2] then return {'same', there[1]} end
    return {'other', there[1]}
  end
end
redis.call('HSET', KEYS[1], 'number', ARGV[1], 'body', ARGV[2])
return {'written', ARGV[1]}
"""
)

RAISE_LISTING: Final = (
    _NUMBER
    + """
local raised = 0
for i = 1, #ARGV, 2 do
  local number = number_of(redis.call('HGET', KEYS[1], ARGV[i]))
  if not number or number < tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    raised = raised + 1
  end
end
return raised
"""
)


def record_key(project: ProjectId) -> str:
    """
    >>> record_key(ProjectId("shop", "web"))
    'burgee:{shop}:web:record'
    """
    return f"burgee:{{{project.tenant}}}:{project.project}:record"


def snapshot_key(tenant: str, digest: str) -> str:
    return f"burgee:{{{tenant}}}:snapshot:{digest}"


def number_in(text: bytes) -> int | None:
    """None for what no relay writes.

    >>> number_in(b"17"), number_in(b"-1"), number_in(b"1e9")
    (17, None, None)
    """
    return int(text) if len(text) <= 16 and text.isdigit() else None
