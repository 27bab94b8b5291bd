"""What `import`, `diff` and `apply` share: good folders, what is done with each project, and how it is said."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.progress import Progress

from server.client.carry_out import carry_out
from server.client.control import Control
from server.client.folder import FolderError, Project, projects_in
from server.client.plan import Plan, plan_for
from server.client.problems import RefusedError
from server.client.standing import standing_of
from server.commands.control import REFUSED, asking
from server.commands.differences import print_changes
from server.commands.output import counted, err, fail, out, print_diagnostics, print_json

folder_argument = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))


def good_projects(folder: Path, *, as_json: bool, strict: bool = False, code: int = 1) -> list[Project]:
    """Every project; one document that is not good ends the command, before anything is asked or changed."""
    try:
        projects = list(projects_in(folder))
    except FolderError as error:
        fail(str(error), as_json=as_json, code=code)
    if not projects:
        fail(f"{folder}: there is no document (hint: FOLDER/<tenant>/<project>.yaml)", as_json=as_json, code=code)
    bad = [each for each in projects if not each.is_good or (strict and each.has_warnings)]
    if not bad:
        return projects
    if as_json:
        print_json({"ok": False, "documents": {str(each.path): each.diagnostics for each in bad}})
    for each in bad if not as_json else ():
        print_diagnostics(str(each.path), each.diagnostics)
    raise SystemExit(code)


def bring(
    projects: Sequence[Project],
    publish: Sequence[str],
    message: str,
    *,
    prune: bool = False,
    keys: bool = False,
    dry_run: bool,
    as_json: bool,
) -> NoReturn:
    """Does, or with `dry_run` says, what makes each project in the control plane as it is here. A project that is
    refused does not keep others from it."""
    rows: list[dict[str, Any]] = []
    with asking(as_json=as_json) as control, progress(len(projects), as_json=as_json) as step:
        for project in projects:
            row, plan = _one(control, project, publish, message, prune=prune, keys=keys, dry_run=dry_run)
            rows.append(row)
            if not as_json:
                _say(row, plan, dry_run=dry_run)
            step()
    refused = sum("error" in row for row in rows)
    if as_json:
        print_json({"ok": not refused, "dryRun": dry_run, "projects": rows})
    else:
        changed = sum(row["changed"] and "error" not in row for row in rows)
        summary = f"{counted(len(rows), 'project')}: {changed} {'would change' if dry_run else 'changed'}"
        err().print(summary + (f", {refused} refused" if refused else ""), markup=False)
    raise SystemExit(REFUSED if refused else 0)


def _one(
    control: Control,
    project: Project,
    publish: Sequence[str],
    message: str,
    *,
    prune: bool,
    keys: bool,
    dry_run: bool,
) -> tuple[dict[str, Any], Plan | None]:
    row: dict[str, Any] = {"project": str(project.id), "changed": False}
    plan = None
    try:
        standing = standing_of(control, project.id, keys=keys)
        plan = plan_for(project, standing, prune=prune, publish=publish, keys=keys)
        row |= {**plan.as_json(), "changed": bool(plan)}
        if plan and not dry_run:
            row["versions"] = {}
            carry_out(control, plan, standing, row["versions"], message=message)
    except RefusedError as error:
        row |= {"error": str(error), "problem": error.problem, "diagnostics": error.diagnostics}
    return row, plan


def _say(row: dict[str, Any], plan: Plan | None, *, dry_run: bool) -> None:
    if "error" in row:
        for name, version in row.get("versions", {}).items():
            out().print(f"{row['project']}/{name}: version {version}", markup=False, style="bold")
        print_diagnostics(row["project"], row["diagnostics"])
        err().print(f"error: {row['project']}: {row['error']}", markup=False, style="red")
    elif plan is not None:
        print_plan(plan, row.get("versions", {}) if not dry_run else None)


def print_plan(plan: Plan, done: dict[str, int] | None = None) -> None:
    """As a change log of the project: what is made, edited and published. `done`: the versions, where it was done."""
    console = out()
    for each in plan.makes:
        console.print(f"{each}: {'to be made' if done is None else 'made'}", markup=False, style="green")
    if plan.edit:
        console.print(f"{plan.project}: the working copy", markup=False, style="bold")
        print_changes(plan.edit)
    for name, changes in plan.publish.items():
        what = "to be published" if done is None else f"version {done[name]}"
        console.print(f"{plan.project}/{name}: {what}", markup=False, style="bold")
        print_changes(changes)
    for name in plan.origins:
        console.print(f"{plan.project}/{name}: origins", markup=False)
    if plan.keys:
        given, revoked = ("to give", "to revoke") if done is None else ("given", "revoked")
        what = f"{counted(len(plan.keys.give), 'key')} {given}, {len(plan.keys.revoke)} {revoked}"
        console.print(f"{plan.project}: {what}", markup=False)
    for name, changes in plan.waits.items():
        what = f"{counted(len(changes), 'change')} not published" if changes else "nothing is published"
        console.print(f"{plan.project}/{name}: {what} (hint: --publish {name})", markup=False, style="yellow")
    for each in plan.beyond:
        console.print(f"{plan.project}: {each} is not in the folder", markup=False, style="yellow")


@contextmanager
def progress(total: int, *, as_json: bool) -> Iterator[Callable[[], None]]:
    """Call it for each project that is done; nothing is drawn where nobody looks."""
    with Progress(console=err(), transient=True, disable=as_json or not sys.stderr.isatty()) as bar:
        task = bar.add_task("projects", total=total)
        yield lambda: bar.advance(task)
