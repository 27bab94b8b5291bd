"""What a record from elsewhere must be before anything is done with it: names become paths, and sizes memory.

fault_of(ProjectRecord("..", "web", …))     "a name is none"
fault_of(ProjectRecord("shop", "web", …))   "": it can be taken
"""

from __future__ import annotations

import re

import msgspec

from server.state.journal import LARGEST_RECORD
from server.state.records import KeyGrant, ProjectRecord, Published
from server.sync.messages import LARGEST_SNAPSHOT
from server.types import NAME, KeyKind

HIGHEST = 1 << 62  # of numbers and versions
LATEST = 253_402_300_800.0  # seconds since the epoch: the year 10000, which no calendar of Python's has

_NAME = re.compile(NAME, re.ASCII)
_DIGEST = re.compile("[0-9a-f]{64}")


def fault_of(record: ProjectRecord) -> str:
    """What is wrong with it, in a line; empty where nothing is."""
    if len(msgspec.msgpack.encode(record)) > LARGEST_RECORD:
        return "it is larger than the journal takes"
    for name in (record.tenant, record.project, *(each.name for each in record.snapshots)):
        if not _NAME.fullmatch(name) or not name.strip("."):
            return "a name is none"
    if not 0 < record.version < HIGHEST:
        return "its number is none"
    if len({each.name for each in record.environments}) != len(record.environments):
        return "an environment is in it twice"
    for canary in record.canaries:
        live = record.published(canary.published.name)
        if not _is_moment(canary.since):
            return "the time of a canary is none"
        if live is None or canary.published.version <= live.version or not 0 < canary.share < 1:
            return "a canary is none"
    faults = (*map(_fault_of_snapshot, record.snapshots), *map(_fault_of_key, record.keys))
    return next(filter(None, faults), "")


def _fault_of_snapshot(published: Published) -> str:
    if not 0 < published.size <= LARGEST_SNAPSHOT:
        return "a snapshot has an impossible size"
    if not 0 < published.version < HIGHEST:
        return "the version of a snapshot is none"
    if not _is_moment(published.installed_at):
        return "the time of a snapshot is none"
    return "" if _DIGEST.fullmatch(published.digest) else "the digest of a snapshot is none"


def _is_moment(seconds: float) -> bool:
    """Not of what is not a number either."""
    return 0 <= seconds < LATEST


def _fault_of_key(key: KeyGrant) -> str:
    if key.kind is KeyKind.ADMIN:
        return "it has a key of kind `admin`, which no host needs"
    if key.expires is not None and not _is_moment(key.expires):
        return "the time of a key is none"
    return "" if len(key.digest) == 32 else "the digest of a key is none"
