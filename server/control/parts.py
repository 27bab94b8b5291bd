"""What the control plane is made of, for whoever answers a request.

Parts(record, feed, compiler, ControlSettings())
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from server.control.feed import Feed
from server.control.hosts import Hosts
from server.control.metrics import ControlMetrics
from server.control.publishing.impact import RecentContexts
from server.control.publishing.kept import KeptDocuments
from server.record.database import Record
from server.sources.compiling import Compiler


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings:
    """Those of the server's settings that the control plane reads."""

    max_body_bytes: int = 16 << 20
    body_timeout: float = 30.0  # seconds for a whole body to arrive
    evaluations: Path | None = None  # the counts of this host's agent (server/evaluations/database.py)


@dataclass(frozen=True, slots=True)
class Parts:
    record: Record
    feed: Feed
    compiler: Compiler
    settings: ControlSettings = field(default_factory=ControlSettings)
    hosts: Hosts | None = None  # None: nobody reports here
    metrics: ControlMetrics = field(default_factory=ControlMetrics)
    contexts: RecentContexts = field(default_factory=RecentContexts)  # for the impact of drafts
    kept: KeptDocuments = field(default_factory=KeptDocuments)  # for publishing
