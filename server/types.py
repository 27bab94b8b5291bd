"""The vocabulary of the server: who asks, for what, and what is wrong with a source.

    examples/tenants/shop/web.yaml, environment production

is `EnvironmentId("shop", "web", "production")`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec

NAME = r"[A-Za-z0-9._-]{1,128}"  # of tenants, projects and environments


class ProjectId(NamedTuple):
    tenant: str
    project: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.project}"


class EnvironmentId(NamedTuple):
    tenant: str
    project: str
    environment: str

    def __str__(self) -> str:
        return f"{self.tenant}/{self.project}/{self.environment}"

    @property
    def project_id(self) -> ProjectId:
        return ProjectId(self.tenant, self.project)


class KeyKind(StrEnum):
    """What a key may do. It is a property of the stored record, never of the text somebody presents."""

    SERVER = "server"  # evaluates every flag of its environments
    CLIENT = "client"  # sees the values of client-visible flags
    EDGE = "edge"  # fetches snapshots
    ADMIN = "admin"  # changes documents


EVALUATING = frozenset({KeyKind.SERVER, KeyKind.CLIENT})


@dataclass(frozen=True, slots=True)
class Grant:
    """What a presented key opens, looked up by the SHA-256 of the key."""

    digest: bytes  # 32 bytes
    selector: str  # names the key in logs; not secret
    kind: KeyKind
    project: ProjectId
    environments: tuple[EnvironmentId, ...]
    expires: float | None  # seconds since the epoch

    @property
    def client(self) -> bool:
        return self.kind is KeyKind.CLIENT

    @property
    def evaluates(self) -> bool:
        return self.kind in EVALUATING


class SourceState(StrEnum):
    VALID = "valid"  # what is served is what the source says
    STALE = "stale"  # the source is broken or unreadable; the last good one is served
    BROKEN = "broken"  # the source was never good: nothing is served


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a source is not served as it stands: one line, and the compiler's diagnostics where there are any."""

    message: str
    diagnostics: tuple[str, ...] = ()
