"""What has to be done so that a control plane has what a folder says: compared first, and said before it is done.

    plan = plan_for(project, standing, prune=False, publish=("staging",))

becomes `Plan(ProjectId("shop", "web"), make=("staging",), edit=(Change("flag", "checkout", "changed", …),),
publish={"staging": (…)}, wanted=Document(…), …)`; a plan without anything to do is false.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from server.client.difference import NOTHING, between
from server.client.folder import Document, Project
from server.client.keys import KeyChanges, key_changes
from server.client.standing import Standing
from server.control.publishing.diff import Change
from server.types import ProjectId

EVERY = "*"


@dataclass(frozen=True, slots=True)
class Plan:
    project: ProjectId
    wanted: Document  # the working copy as it is to be
    make: tuple[str, ...]  # environments that are not there
    make_tenant: bool
    make_project: bool
    edit: tuple[Change, ...]  # of the working copy
    publish: dict[str, tuple[Change, ...]]  # by environment; without those that have it all
    waits: dict[str, tuple[Change, ...]]  # differs from what is published, and is not to be published
    keys: KeyChanges
    origins: dict[str, tuple[str, ...]]  # of environments whose list is another
    beyond: tuple[str, ...]  # environments, and flags and segments, that are not in the folder and stay

    def __bool__(self) -> bool:
        return bool(
            self.make_tenant or self.make_project or self.make or self.edit or self.publish or self.keys or self.origins
        )

    @property
    def makes(self) -> tuple[str, ...]:
        tenant = (f"tenant {self.project.tenant}",) if self.make_tenant else ()
        project = (f"project {self.project}",) if self.make_project else ()
        return (*tenant, *project, *(f"environment {self.project}/{name}" for name in self.make))

    def as_json(self) -> dict[str, Any]:
        return {
            "project": str(self.project),
            "make": self.makes,
            "edit": self.edit,
            "publish": self.publish,
            "waits": self.waits,
            "keys": {"give": [each.selector for each in self.keys.give], "revoke": self.keys.revoke},
            "origins": self.origins,
            "beyond": self.beyond,
        }


def plan_for(
    project: Project, standing: Standing, *, prune: bool = False, publish: Collection[str] = (), keys: bool = False
) -> Plan:
    """`publish`: names of environments, `*` for each."""
    document = project.document
    wanted = document if prune else _merged(standing.working, document)
    publishes, waits = {}, {}
    for name in document.environments:
        there = standing.environments.get(name)
        changes = between(there.published or NOTHING if there else NOTHING, wanted, name)
        if not changes and there is not None and there.published is not None:
            continue
        if EVERY in publish or name in publish:
            publishes[name] = changes
        else:
            waits[name] = changes
    return Plan(
        project.id,
        wanted,
        make=tuple(name for name in document.environments if name not in standing.environments),
        make_tenant=not standing.has_tenant,
        make_project=not standing.has_project,
        edit=between(standing.working, wanted),
        publish=publishes,
        waits=waits,
        keys=key_changes(project.keys.keys, standing.keys) if keys else KeyChanges(),
        origins=_origins(project, standing) if keys else {},
        beyond=(
            *(f"environment {name}" for name in standing.environments if name not in document.environments),
            *(() if prune else _beyond(standing.working, document)),
        ),
    )


def _origins(project: Project, standing: Standing) -> dict[str, tuple[str, ...]]:
    return {
        name: listed
        for name, listed in project.keys.origins.items()
        if name in project.document.environments and standing.origins.get(name, ()) != listed
    }


def _merged(there: Document, wanted: Document) -> Document:
    return Document(wanted.environments, {**there.segments, **wanted.segments}, {**there.flags, **wanted.flags})


def _beyond(there: Document, wanted: Document) -> tuple[str, ...]:
    return (
        *(f"flag {key}" for key in there.flags if key not in wanted.flags),
        *(f"segment {key}" for key in there.segments if key not in wanted.segments),
    )
