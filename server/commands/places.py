"""`burgee tenants|projects|environments list|create`, `burgee hosts`, `burgee status`: what there is and who has it."""

from __future__ import annotations

import click

from server.client.control import path_of
from server.client.standing import project_path
from server.commands.control import Place, asking, asks_control, project_argument
from server.commands.output import err, print_json, print_table
from server.types import EnvironmentId, ProjectId

_title = click.option("--title", default="", help="For people.")


@click.group("tenants")
def tenants_group() -> None:
    """List and make tenants."""


@tenants_group.command("list")
@asks_control
def list_tenants(as_json: bool) -> None:
    """List the tenants that the key reaches."""
    _list("/tenants", ("name", "title", "paused"), as_json=as_json)


@tenants_group.command("create")
@click.argument("tenant", type=Place(1, 1), metavar="TENANT")
@_title
@asks_control
def create_tenant(tenant: tuple[str], title: str, as_json: bool) -> None:
    """Make a tenant.

    \b
    burgee tenants create shop --title "The shop"
    """
    _create("/tenants", "tenant", tenant[0], {"name": tenant[0], "title": title}, as_json=as_json)


@click.group("projects")
def projects_group() -> None:
    """List and make projects of a tenant."""


@projects_group.command("list")
@click.argument("tenant", type=Place(1, 1), metavar="TENANT")
@asks_control
def list_projects(tenant: tuple[str], as_json: bool) -> None:
    """List the projects of a tenant."""
    _list(path_of("tenants", tenant[0], "projects"), ("name", "title", "paused"), as_json=as_json)


@projects_group.command("create")
@project_argument
@_title
@asks_control
def create_project(project: ProjectId, title: str, as_json: bool) -> None:
    """Make a project.

    \b
    burgee projects create shop/web
    """
    path = path_of("tenants", project.tenant, "projects")
    _create(path, "project", str(project), {"name": project.project, "title": title}, as_json=as_json)


@click.group("environments")
def environments_group() -> None:
    """List and make environments of a project."""


@environments_group.command("list")
@project_argument
@asks_control
def list_environments(project: ProjectId, as_json: bool) -> None:
    """List the environments of a project, with the newest version and the one that hosts are told to serve."""
    columns = ("name", "version", "liveVersion", "paused", "pinnedVersion")
    _list(f"{project_path(project)}/environments", columns, as_json=as_json)


@environments_group.command("create")
@click.argument("environment", type=Place(3, 3), metavar="TENANT/PROJECT/ENVIRONMENT")
@asks_control
def create_environment(environment: tuple[str, str, str], as_json: bool) -> None:
    """Make an environment.

    \b
    burgee environments create shop/web/staging
    """
    made = EnvironmentId(*environment)
    path = f"{project_path(made.project_id)}/environments"
    _create(path, "environment", str(made), {"name": made.environment}, as_json=as_json)


@click.command("hosts")
@asks_control
def hosts_command(as_json: bool) -> None:
    """List the hosts that serve, and what each says of itself.

    \b
    burgee hosts
    """
    _list("/hosts", ("name", "at", "workers", "source", "version", "projects", "held", "silent"), as_json=as_json)


@click.command("status")
@asks_control
def status_command(as_json: bool) -> None:
    """List the environments: the newest version, what hosts are told to serve, and which hosts lack it.

    \b
    burgee status
    """
    _list("/status", ("environment", "version", "liveVersion", "held", "missing"), as_json=as_json)


def _list(path: str, columns: tuple[str, ...], *, as_json: bool) -> None:
    with asking(as_json=as_json) as control:
        items = list(control.pages(path))
    if as_json:
        print_json(items)
    elif not items:
        err().print("there is none", markup=False)
    else:
        print_table((_words(each) for each in columns), ((item.get(name) for name in columns) for item in items))


def _words(member: str) -> str:
    """`liveVersion` as people write it: `live version`."""
    return "".join(f" {each.lower()}" if each.isupper() else each for each in member)


def _create(path: str, what: str, name: str, body: dict[str, str], *, as_json: bool) -> None:
    with asking(as_json=as_json) as control:
        made = control.post(path, {member: value for member, value in body.items() if value}).body
    if as_json:
        print_json(made)
    else:
        err().print(f"{what} {name} is made", markup=False)
