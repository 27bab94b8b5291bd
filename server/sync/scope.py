"""What somebody who asks may see: the environments of an edge key, and of the keys only those for them.

Scope("shop", "web", ("production",)).narrow(record)     the record with `production` alone, and its keys
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from server.state.records import KeyGrant, ProjectRecord
from server.types import EnvironmentId, KeyKind, ProjectId


@dataclass(frozen=True, slots=True)
class Scope:
    """Empty: all there are."""

    tenant: str = ""
    project: str = ""
    environments: tuple[str, ...] = ()

    def covers(self, project: ProjectId) -> bool:
        return self.tenant in ("", project.tenant) and self.project in ("", project.project)

    def covers_environment(self, environment: EnvironmentId) -> bool:
        return self.covers(environment.project_id) and (
            not self.environments or environment.environment in self.environments
        )

    def listing(self, projects: Mapping[ProjectId, int]) -> dict[str, int]:
        if self.tenant and self.project:
            project = ProjectId(self.tenant, self.project)
            return {str(project): projects[project]} if project in projects else {}
        return {str(each): number for each, number in projects.items() if self.covers(each)}

    def narrow(self, record: ProjectRecord) -> ProjectRecord:
        """INVARIANT: admin keys are told to nobody."""
        names = {each.name for each in record.environments}
        open_to = names & set(self.environments) if self.environments else names
        return msgspec.structs.replace(
            record,
            environments=tuple(each for each in record.environments if each.name in open_to),
            keys=tuple(
                each if self.environments == () else _clipped(each, open_to)
                for each in record.keys
                if each.kind is not KeyKind.ADMIN and (not self.environments or open_to & set(each.environments))
            ),
            origins={
                name: allowed for name, allowed in record.origins.items() if name in open_to or not self.environments
            },
            canaries=tuple(each for each in record.canaries if each.published.name in open_to),
        )


ALL = Scope()


def _clipped(key: KeyGrant, open_to: set[str]) -> KeyGrant:
    return msgspec.structs.replace(key, environments=tuple(each for each in key.environments if each in open_to))
