"""What a control plane has of a project, as far as a folder of documents can say it too.

    standing_of(control, ProjectId("shop", "web"))

gives `Standing(environments={"production": EnvironmentStanding(version=17, …)}, working=Document(…), etag='"41"')`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from server.client.control import Control, path_of
from server.client.folder import Document
from server.client.keys import keys_of
from server.sources.key_file import KeyRecord
from server.types import ProjectId


@dataclass(frozen=True, slots=True)
class EnvironmentStanding:
    name: str
    version: int  # the newest; 0: nothing is published
    origins: tuple[str, ...]
    published: Document | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Of what is not there: no environments, and an empty working copy."""

    has_tenant: bool = False
    has_project: bool = False
    environments: dict[str, EnvironmentStanding] = field(default_factory=dict)
    working: Document = field(default_factory=lambda: Document(()))
    etag: str | None = None  # of the working copy
    keys: tuple[KeyRecord, ...] = ()

    @property
    def origins(self) -> dict[str, tuple[str, ...]]:
        return {name: each.origins for name, each in self.environments.items() if each.origins}


def standing_of(control: Control, project: ProjectId, *, keys: bool = False) -> Standing:
    here = project_path(project)
    if control.find(here) is None:
        return Standing(has_tenant=control.find(path_of("tenants", project.tenant)) is not None)
    listed = [environment_of(control, project, each) for each in control.pages(f"{here}/environments")]
    found = control.get(f"{here}/document")
    known = keys_of(control, project, [each.name for each in listed]) if keys else ()
    return Standing(True, True, {each.name: each for each in listed}, read_document(found.body), found.etag, known)


def environment_of(control: Control, project: ProjectId, view: dict[str, Any]) -> EnvironmentStanding:
    name, version = view["name"], view["version"]
    published = None
    if version:
        body = control.get(f"{environment_path(project, name)}/versions/{version}/document").body
        published = read_document(body)
    origins = tuple(view.get("settings", {}).get("origins", ()))
    return EnvironmentStanding(name, version, origins, published)


def read_document(body: dict[str, Any]) -> Document:
    """A flag document as the control plane gives it."""
    return Document(tuple(body.get("environments", ())), body.get("segments", {}), body.get("flags", {}))


def project_path(project: ProjectId) -> str:
    return path_of("tenants", project.tenant, "projects", project.project)


def environment_path(project: ProjectId, environment: str) -> str:
    return project_path(project) + path_of("environments", environment)
