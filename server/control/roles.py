"""Who may do what: roles, what a route needs, and how far a key reaches.

    Need(Role.EDITOR) on /tenants/{tenant}/projects/{project}/flags/{key}

is met by an editor, admin or owner of that project, of its tenant, or of the instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from server.record.audit import Actor


class Role(StrEnum):
    """From the least to the most; each may what those before it may."""

    VIEWER = "viewer"
    EDITOR = "editor"
    ADMIN = "admin"
    OWNER = "owner"

    @property
    def rank(self) -> int:
        return list(Role).index(self)


@dataclass(frozen=True, slots=True)
class Need:
    """What a route asks of a key."""

    role: Role
    in_part: bool = (
        False  # also for keys that reach only a part of what the path names; the handler shows that part only
    )


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: an admin key, its role, and how far it reaches. Empty names: everything on that level."""

    selector: str
    role: Role
    tenant: str = ""
    project: str = ""

    @property
    def actor(self) -> Actor:
        return Actor(self.selector)

    def may(self, role: Role) -> bool:
        return self.role.rank >= role.rank

    def reaches(self, tenant: str = "", project: str = "") -> bool:
        """All of it: of the instance, of a tenant, or of a project.

        >>> Principal("…", Role.ADMIN, "shop").reaches("shop", "web"), Principal("…", Role.ADMIN, "shop").reaches()
        (True, False)
        """
        return self.tenant in ("", tenant) and self.project in ("", project)

    def touches(self, tenant: str = "", project: str = "") -> bool:
        """Any of it.

        >>> Principal("…", Role.ADMIN, "shop", "web").touches("shop"), Principal("…", Role.ADMIN, "a").touches("b")
        (True, False)
        """
        return "" in (tenant, self.tenant) or (
            tenant == self.tenant and ("" in (project, self.project) or project == self.project)
        )
