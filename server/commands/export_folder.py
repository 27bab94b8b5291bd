"""`burgee export FOLDER`: documents and key files out of a control plane, in the layout of a folder of tenants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from server.client.control import Control, path_of
from server.client.folder import Document, write_project
from server.client.keys import keys_of
from server.client.standing import environment_path, project_path, read_document
from server.commands.control import Place, asking, asks_control
from server.commands.folders import progress
from server.commands.output import counted, err, fail, print_json
from server.sources.key_file import KeyFile
from server.types import ProjectId


@click.command("export")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("places", type=Place(1, 2), nargs=-1, metavar="[TENANT[/PROJECT]]...")
@click.option("--environment", "-e", help="What is published there, in place of the working copies.")
@click.option("--keys/--no-keys", default=True, show_default=True, help="Key files, too: digests, never keys.")
@asks_control
def export_command(
    folder: Path, places: tuple[tuple[str, ...], ...], environment: str | None, keys: bool, as_json: bool
) -> None:
    """Write what the control plane has into FOLDER: all that the key reaches, or single tenants and projects.

    A file that says the same already stays as it is, with its comments.

    \b
    burgee export flags/
    burgee export flags/ shop bank/mobile
    burgee export flags/ shop/web -e production
    """
    written: list[str] = []
    passed: list[str] = []
    with asking(as_json=as_json) as control:
        projects = list(_projects(control, places))
        with progress(len(projects), as_json=as_json) as step:
            for project in projects:
                document = _document(control, project, environment)
                if document is None:
                    passed.append(str(project))
                    continue
                beside = _keys(control, project) if keys else None
                written += _written(folder, project, document, beside, as_json=as_json)
                step()
    if as_json:
        print_json({"ok": True, "projects": len(projects), "written": written, "unpublished": passed})
        return
    for name in passed:
        err().print(f"warning: {name}: nothing is published in `{environment}`", markup=False, style="yellow")
    err().print(f"{counted(len(projects), 'project')}, {counted(len(written), 'file')} written", markup=False)


def _projects(control: Control, places: tuple[tuple[str, ...], ...]) -> Iterator[ProjectId]:
    tenants = [place[0] for place in places if len(place) == 1]
    if not places:
        tenants = [each["name"] for each in control.pages("/tenants")]
    found = [ProjectId(*place) for place in places if len(place) == 2]
    for tenant in tenants:
        found += [ProjectId(tenant, each["name"]) for each in control.pages(path_of("tenants", tenant, "projects"))]
    yield from sorted(set(found))


def _document(control: Control, project: ProjectId, environment: str | None) -> Document | None:
    """None where nothing is published."""
    if environment is None:
        return read_document(control.get(f"{project_path(project)}/document").body)
    found = control.find(environment_path(project, environment))
    if found is None or not found.body["version"]:
        return None
    path = f"{environment_path(project, environment)}/versions/{found.body['version']}/document"
    return read_document(control.get(path).body)


def _keys(control: Control, project: ProjectId) -> KeyFile:
    listed = list(control.pages(f"{project_path(project)}/environments"))
    origins = {each["name"]: tuple(each["settings"]["origins"]) for each in listed if each["settings"].get("origins")}
    return KeyFile(keys_of(control, project, [each["name"] for each in listed]), origins)


def _written(folder: Path, project: ProjectId, document: Document, keys: KeyFile | None, *, as_json: bool) -> list[str]:
    try:
        return [str(path) for path in write_project(folder, project, document, keys)]
    except OSError as error:
        fail(f"{error.filename or folder}: {(error.strerror or 'cannot be written').lower()}", as_json=as_json)
