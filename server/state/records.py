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


class Canary(msgspec.Struct, frozen=True, array_like=True):
    """A version that some workers of each host answer from, before the others. docs/adr/0017-canary.md."""

    published: Published  # its version is above the one in `environments`
    share: float  # of the workers, above 0 and below 1
    since: float  # seconds since the epoch

    def is_for(self, slot: int, workers: int) -> bool:
        """
        >>> canary = Canary(Published("production", 18, "", 0, 0, 0.0), share=0.5, since=0.0)
        >>> [canary.is_for(slot, 4) for slot in range(4)], canary.is_for(0, 1)
        ([True, True, False, False], False)
        """
        return slot < min(workers - 1, max(1, round(self.share * workers)))


class ProjectRecord(msgspec.Struct, frozen=True, array_like=True):
    tenant: str
    project: str
    environments: tuple[Published, ...] = ()
    keys: tuple[KeyGrant, ...] = ()
    origins: dict[str, tuple[str, ...]] = {}  # environment -> web origins whose scripts may read a client key's answers
    version: int = 0  # the record's number: rises with every change, and stays when the project goes
    sources: Sources = Sources()
    canaries: tuple[Canary, ...] = ()  # at most one for each environment

    @property
    def snapshots(self) -> tuple[Published, ...]:
        """All that a host needs on its disk to answer from this record."""
        return *self.environments, *(each.published for each in self.canaries)

    @property
    def id(self) -> ProjectId:
        return ProjectId(self.tenant, self.project)

    @property
    def gone(self) -> bool:
        return not self.environments and not self.keys

    def published(self, name: str, slot: int = 0, workers: int = 1) -> Published | None:
        """What the worker of a slot answers from; None where there is no such environment."""
        stable = next((each for each in self.environments if each.name == name), None)
        canary = self.canary(name)
        return canary.published if stable and canary and canary.is_for(slot, workers) else stable

    def canary(self, name: str) -> Canary | None:
        return next((each for each in self.canaries if each.published.name == name), None)

    def environment_id(self, name: str) -> EnvironmentId:
        return EnvironmentId(self.tenant, self.project, name)
