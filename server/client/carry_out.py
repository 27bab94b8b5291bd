"""A plan, done: what is missing is made, the working copy replaced, environments published, keys given, in this order.

    carry_out(control, plan, standing, versions, message="…")        versions == {"production": 18}

What somebody else changed since the plan was made is not overwritten: the working copy and each environment are
replaced only as they were seen (If-Match), and what is published is the working copy as it was seen or written here.
"""

from __future__ import annotations

from server.client.control import Control, path_of, revision_of, version_tag
from server.client.keys import change_keys
from server.client.plan import Plan
from server.client.problems import RefusedError
from server.client.standing import Standing, environment_path, project_path
from server.types import ProjectId


def carry_out(control: Control, plan: Plan, standing: Standing, versions: dict[str, int], *, message: str) -> None:
    """`versions` gets those that are published, by environment. Raises ControlError: what was done until then stays."""
    here = project_path(plan.project)
    if plan.make_tenant:
        _make(control, "/tenants", plan.project.tenant)
    if plan.make_project:
        _make(control, path_of("tenants", plan.project.tenant, "projects"), plan.project.project)
    for name in plan.make:
        _make(control, f"{here}/environments", name)
    revision = revision_of(standing.etag)
    if plan.edit:
        etag = standing.etag if standing.etag is not None else control.get(f"{here}/document").etag
        # As it will be given back: where the answer is lost, that is compared.
        names = [*standing.working.environments, *plan.make]
        content = {"environments": names, "flags": plan.wanted.flags, "segments": plan.wanted.segments}
        revision = revision_of(control.put(f"{here}/document", content, etag=etag).etag)
    for name, listed in plan.origins.items():
        path = environment_path(plan.project, name)
        control.patch(path, {"settings": {"origins": listed}}, etag=control.get(path).etag)
    change_keys(control, plan.project, plan.keys)
    for name in plan.publish:
        there = standing.environments.get(name)
        versions[name] = publish(control, plan.project, name, there.version if there else 0, revision, message)


def publish(
    control: Control, project: ProjectId, environment: str, version: int, revision: int | None, message: str
) -> int:
    """The new version; `version` is the one it is to follow, `revision` that of the working copy."""
    wanted = {"message": message, "revision": revision}
    reply = control.post(f"{environment_path(project, environment)}/publish", wanted, etag=version_tag(version))
    number: int = reply.body["version"]
    return number


def _make(control: Control, path: str, name: str) -> None:
    """Nothing where somebody else was quicker."""
    try:
        control.post(path, {"name": name})
    except RefusedError as error:
        if error.status != 409:
            raise
