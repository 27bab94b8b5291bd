"""`burgee flags list|get|set|delete`: the working copy, a flag at a time; it is live when it is published."""

from __future__ import annotations

from typing import Any

import click
import msgspec
import yaml

from rules_compiler.yaml_reader import YamlError, json_value
from server.client.control import path_of, revision_of, version_tag
from server.client.standing import project_path
from server.client.writing import definition_text
from server.commands.control import asking, asks_control, project_argument
from server.commands.output import err, fail, print_json, print_table
from server.types import ProjectId

_key = click.argument("key")


@click.group("flags")
def flags_group() -> None:
    """List, read and change flags of a working copy."""


@flags_group.command("list")
@project_argument
@asks_control
def list_flags(project: ProjectId, as_json: bool) -> None:
    """List the flags of a project's working copy.

    \b
    burgee flags list shop/web
    """
    with asking(as_json=as_json) as control:
        flags = list(control.pages(f"{project_path(project)}/flags"))
    if as_json:
        print_json(flags)
        return
    rows = ((each["key"], each["body"].get("type"), each["body"].get("owner"), each["changedAt"]) for each in flags)
    print_table(("key", "type", "owner", "changed"), rows)


@flags_group.command("get")
@project_argument
@_key
@asks_control
def get_flag(project: ProjectId, key: str, as_json: bool) -> None:
    """Print a flag as YAML, to be edited and given to `burgee flags set`.

    Its first line is a comment with the revision, for `--if-revision`; with --json it is beside the flag.

    \b
    burgee flags get shop/web checkout > checkout.yaml
    """
    with asking(as_json=as_json) as control:
        reply = control.get(_path(project, key))
    revision = revision_of(reply.etag)
    if as_json:
        print_json({"revision": revision, "flag": reply.body})
    else:
        click.echo(f"# revision {revision}\n{definition_text(reply.body)}", nl=False)


@flags_group.command("set")
@project_argument
@_key
@click.argument("file", type=click.File("rb"))
@click.option(
    "--if-revision",
    type=click.IntRange(0),
    help="Only while this is its revision, as `flags get` says; 0: there is none. Else what others did since is lost.",
)
@asks_control
def set_flag(project: ProjectId, key: str, file: Any, if_revision: int | None, as_json: bool) -> None:
    """Make or replace a flag with what FILE says, YAML or JSON; - is stdin.

    \b
    burgee flags set shop/web checkout checkout.yaml --if-revision 41
    """
    body = _definition(file.read(), getattr(file, "name", "stdin"), as_json=as_json)
    with asking(as_json=as_json) as control:
        if if_revision is None:
            found = control.find(_path(project, key))
            etag = found.etag if found else None
        else:
            etag = version_tag(if_revision) if if_revision else None
        reply = control.put(_path(project, key), body, etag=etag)
    if as_json:
        print_json({"ok": True, "made": etag is None, "revision": revision_of(reply.etag), "flag": reply.body})
    else:
        err().print(f"{project}: flag {key} {'made' if etag is None else 'replaced'} in the working copy", markup=False)


@flags_group.command("delete")
@project_argument
@_key
@asks_control
def delete_flag(project: ProjectId, key: str, as_json: bool) -> None:
    """Delete a flag from the working copy.

    \b
    burgee flags delete shop/web checkout
    """
    with asking(as_json=as_json) as control:
        control.delete(_path(project, key), etag=control.get(_path(project, key)).etag)
    if as_json:
        print_json({"ok": True})
    else:
        err().print(f"{project}: flag {key} deleted from the working copy", markup=False)


def _path(project: ProjectId, key: str) -> str:
    return project_path(project) + path_of("flags", key)


def _definition(content: bytes, name: str, *, as_json: bool) -> Any:
    try:
        if content.lstrip().startswith(b"{"):
            return msgspec.json.decode(content)
        return json_value(content.decode())
    except (YamlError, yaml.YAMLError, UnicodeDecodeError, msgspec.DecodeError) as error:
        fail(f"{name}: {error}", as_json=as_json)
