"""What goes over the wire between a host and whom it asks. docs/sync.md.

Listing(epoch=0, projects={"shop/web": 18}, …)   JSON
ProjectRecord("shop", "web", …)                  MessagePack; server/state/records.py
Changed("shop/web", 18)                          JSON, one event
HostReport(projects={"shop/web": 18}, …)         JSON
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from server.state.records import ProjectRecord
from server.types import NAME, ProjectId

PROJECTS: Final = "/v1/sync/projects"
SNAPSHOTS: Final = "/v1/sync/snapshots"
EVENTS: Final = "/v1/sync/events"
HOSTS: Final = "/v1/sync/hosts"

SYNC_ROUTES: Final = ("sync_projects", "sync_project", "sync_snapshot", "sync_events")  # their names, for GET

NUMBER: Final = "Burgee-Number"
MSGPACK: Final = "application/vnd.msgpack"

LARGEST_LISTING: Final = 64 << 20  # bytes
LARGEST_RECORD: Final = 64 << 20
LARGEST_SNAPSHOT: Final = 256 << 20

_PROJECT = re.compile(f"({NAME})/({NAME})", re.ASCII)


class Listing(msgspec.Struct, frozen=True):
    epoch: int
    projects: dict[str, int]  # "tenant/project" -> number
    source: str = ""  # whose numbers these are: the id of a record, or `folder`; those of two are not comparable


class Changed(msgspec.Struct, frozen=True):
    project: str
    number: int


class CanaryReport(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How a host's workers fare with a canary, beside the others. docs/adr/0017-canary.md."""

    version: int
    complaint: str = ""  # why it is to be halted; empty: there is nothing
    evaluations: int = 0  # of the canary
    defaults: int = 0  # of these, the code default and errors
    other_evaluations: int = 0
    other_defaults: int = 0


class HostReport(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    projects: dict[str, int] = {}  # that every worker of the host answers from
    behind: dict[str, str] = {}  # what could not be installed, and why
    workers: int = 0
    held: bool = False
    source: str = ""
    version: str = ""
    started_at: str = ""
    number: int = 0  # of the report; 0: `projects` has all there are, else those that changed since the report before
    canaries: dict[str, CanaryReport] = {}  # "tenant/project/environment" -> of those that run here


encode_record = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(ProjectRecord).decode


def project_named(text: str) -> ProjectId | None:
    """None for what is no project's name.

    >>> project_named("shop/web")
    ProjectId(tenant='shop', project='web')
    """
    found = _PROJECT.fullmatch(text)
    return ProjectId(found[1], found[2]) if found else None
