"""What the journal says of a project: everything a worker needs to answer for it, and where the agent left off.

    ProjectRecord("shop", "web", environments=(Published("production", 17, …),), keys=(KeyRecord(…),), …)

becomes one MessagePack array. INVARIANT: members are only ever added at the end, with a default; older records stay
readable.
"""

from __future__ import annotations

import msgspec

from server.types import EnvironmentId, KeyKind, ProjectId


class Published(msgspec.Struct, frozen=True, array_like=True):
    """One environment's snapshot as it lies on disk."""

    name: str  # of the environment
    version: int
    digest: str  # 64 hexadecimal digits
    size: int  # bytes
    flags: int
    installed_at: float  # seconds since the epoch


class KeyGrant(msgspec.Struct, frozen=True, array_like=True):
    """A live key of a project."""

    digest: bytes  # SHA-256 of the key
    selector: str
    kind: KeyKind
    environments: tuple[str, ...]
    expires: float | None = None  # seconds since the epoch


class Sources(msgspec.Struct, frozen=True, array_like=True):
    """What the record was made from: equal sources need no work. Digests; empty where there is none."""

    document: bytes = b""
    keys: bytes = b""
    compiler: str = ""  # which compiler made the snapshots


class ProjectRecord(msgspec.Struct, frozen=True, array_like=True):
    tenant: str
    project: str
    environments: tuple[Published, ...] = ()
    keys: tuple[KeyGrant, ...] = ()
    origins: dict[str, tuple[str, ...]] = {}  # environment -> web origins whose scripts may read a client key's answers
    version: int = 0  # the highest there ever was: it stays when the project goes
    sources: Sources = Sources()

    @property
    def id(self) -> ProjectId:
        return ProjectId(self.tenant, self.project)

    @property
    def gone(self) -> bool:
        return not self.environments and not self.keys

    def environment_id(self, name: str) -> EnvironmentId:
        return EnvironmentId(self.tenant, self.project, name)
