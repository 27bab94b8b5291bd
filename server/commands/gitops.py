"""`burgee import|diff|apply FOLDER`: a control plane as a folder of documents says it should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from server.client.folder import Project
from server.client.plan import EVERY, plan_for
from server.client.standing import standing_of
from server.commands.control import REFUSED, asking, asks_control
from server.commands.folders import bring, folder_argument, good_projects, print_plan, progress
from server.commands.output import counted, err, print_json

_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


@click.command("import")
@folder_argument
@_dry_run
@click.option("--message", "-m", default="imported", show_default=True, help="For the history.")
@asks_control
def import_command(folder: Path, dry_run: bool, message: str, as_json: bool) -> None:
    """Take a folder that `burgee serve --tenants` serves into a control plane, and publish all of it.

    Tenants, projects and environments are made; flags, segments and origins come along, and keys, as digests: they keep
    working. Nothing is deleted. Done again, only what differs is done.

    \b
    burgee import /srv/flags --dry-run
    burgee import /srv/flags
    """
    projects = good_projects(folder, as_json=as_json)
    bring(projects, (EVERY,), message, keys=True, dry_run=dry_run, as_json=as_json)


@click.command("diff")
@folder_argument
@click.option(
    "--environment", "-e", "environments", multiple=True, help="Only what is published there. May be repeated."
)
@asks_control
def diff_command(folder: Path, environments: tuple[str, ...], as_json: bool) -> None:
    """Say what FOLDER has otherwise than the control plane: in the working copies, and as published.

    Exit codes: 0 nothing; 1 something; 3 it could not be compared.

    \b
    burgee diff flags/
    burgee diff flags/ -e production
    """
    projects = good_projects(folder, as_json=as_json, code=REFUSED)
    _known(projects, environments, "--environment")
    plans = []
    with asking(as_json=as_json) as control, progress(len(projects), as_json=as_json) as step:
        for project in projects:
            plan = plan_for(project, standing_of(control, project.id), prune=True, publish=environments or (EVERY,))
            plans.append(replace(plan, edit=(), waits={}, beyond=()) if environments else plan)
            step()
    differ = [plan for plan in plans if plan or plan.beyond]
    if as_json:
        print_json({"ok": True, "differs": bool(differ), "projects": [plan.as_json() for plan in plans]})
    else:
        for plan in differ:
            print_plan(plan)
        err().print(f"{counted(len(plans), 'project')}: {len(differ)} differ", markup=False)
    raise SystemExit(1 if differ else 0)


@click.command("apply")
@folder_argument
@_dry_run
@click.option(
    "--publish", "environments", multiple=True, metavar="ENV", help="Publish there; * is everywhere. May be repeated."
)
@click.option("--message", "-m", default="", help="Why, for the history.")
@click.option("--prune", is_flag=True, help="Delete flags and segments that are not in FOLDER.")
@click.option("--strict", is_flag=True, help="Warnings stop it, too.")
@asks_control
def apply_command(
    folder: Path,
    dry_run: bool,
    environments: tuple[str, ...],
    message: str,
    prune: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Make the control plane's flags and segments those of FOLDER, and publish them where --publish says.

    Only what differs is written. Nothing is where a document has errors. What somebody else changes at the same time is
    not overwritten: that project is refused, and can be applied again.

    \b
    burgee apply flags/ --dry-run --publish staging
    burgee apply flags/ --publish staging --message "$(git log -1 --format=%s)"
    """
    projects = good_projects(folder, as_json=as_json, strict=strict)
    _known(projects, environments, "--publish")
    bring(projects, environments, message, prune=prune, dry_run=dry_run, as_json=as_json)


def _known(projects: list[Project], environments: tuple[str, ...], option: str) -> None:
    known = {name for each in projects for name in each.document.environments}
    for name in environments:
        if name != EVERY and name not in known:
            listed = ", ".join(f"`{each}`" for each in sorted(known))
            raise click.BadParameter(f"no document has an environment `{name}` (hint: {listed})", param_hint=option)
