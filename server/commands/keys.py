"""`burgee keys new|list|revoke|owner`: the keys of a control plane, or with `--tenants` those of a folder, in the key
file beside a project's document. A key is shown once, when it is made."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from click.core import ParameterSource
from rich.table import Table

from rules_compiler import CompileError
from server import keys
from server.commands import control_keys
from server.commands.control import asks_control, is_name
from server.commands.control_keys import ROLES, NewKey
from server.commands.inputs import moment
from server.commands.output import err, fail, out, print_json
from server.commands.owner import owner_command
from server.settings import variable_of
from server.sources import key_file
from server.sources.environments import environments_of
from server.sources.folder import DOCUMENT_SUFFIXES
from server.sources.key_file import KeyFile, KeyFileError, KeyRecord
from server.types import KeyKind, ProjectId

F = TypeVar("F", bound=Callable[..., Any])


def _name(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    for each in value if isinstance(value, tuple) else (value,):
        if each is not None and not is_name(each):
            raise click.BadParameter("letters, digits, `.`, `_`, `-`, at most 128, and no dot at the start")
    return value


def _scope_options(command: F) -> F:
    for option in (
        click.option("--project", callback=_name, help="With --tenants: required."),
        click.option("--tenant", callback=_name, help="With --tenants: required."),
        click.option(
            "--tenants",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            envvar=variable_of("tenants"),
            show_envvar=True,
            help="Keys of a folder with a folder per tenant, in place of a control plane's.",
        ),
    ):
        command = option(command)
    return asks_control(command)


def _folder(tenants: Path | None) -> Path | None:
    """None: it is a control plane's keys that are meant. One that is named wins over a variable."""
    source = click.get_current_context().get_parameter_source
    if tenants is None or source("control") is not ParameterSource.COMMANDLINE:
        return tenants
    if source("tenants") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--tenants and --control exclude each other")
    return None


def _project(tenant: str | None, project: str | None) -> ProjectId:
    for name, value in (("--tenant", tenant), ("--project", project)):
        if value is None:
            raise click.UsageError(f"Missing option '{name}'.")
    return ProjectId(tenant or "", project or "")


@click.group("keys")
def keys_group() -> None:
    """Make, list and revoke keys, of a control plane or of a folder of tenants."""


@keys_group.command("new")
@_scope_options
@click.option(
    "--environment",
    "-e",
    "environments",
    multiple=True,
    callback=_name,
    help="May be repeated. With --tenants: required.",
)
@click.option("--kind", type=click.Choice([str(kind) for kind in KeyKind]), required=True)
@click.option("--name", default="", help="Whose key it is, for people.")
@click.option("--expires", type=moment, help="When it stops working: RFC 3339.")
@click.option("--role", type=click.Choice(ROLES), help="Of an admin key.")
def new(
    tenants: Path | None,
    tenant: str | None,
    project: str | None,
    environments: tuple[str, ...],
    kind: str,
    name: str,
    expires: int | None,
    role: str | None,
    as_json: bool,
) -> None:
    """Make a key and print it, once: only its digest is kept.

    \b
    burgee keys new --tenant shop --project web -e production --kind server --name "checkout service"
    burgee keys new --tenant shop --kind admin --role editor
    burgee keys new --tenants /srv/flags --tenant shop --project web -e production --kind client
    """
    until = datetime.fromtimestamp(expires / 1000, UTC) if expires is not None else None
    if (folder := _folder(tenants)) is None:
        wanted = NewKey(kind, tenant, project, environments, name, until, role)
        control_keys.make(wanted, as_json=as_json)
    else:
        if not environments:
            raise click.UsageError("Missing option '--environment' / '-e'.")
        _make(folder, _project(tenant, project), environments, kind, name, until, as_json=as_json)


def _make(
    tenants: Path,
    project: ProjectId,
    environments: tuple[str, ...],
    kind: str,
    name: str,
    until: datetime | None,
    *,
    as_json: bool,
) -> None:
    path = key_file.path_of(tenants, project)
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        fail(f"{path.parent}: {(error.strerror or 'cannot be written').lower()}", as_json=as_json)
    key = keys.new_key(KeyKind(kind))
    selector = keys.selector_of(key)
    assert selector is not None
    record = KeyRecord(
        selector=selector,
        sha256=keys.digest_of(key).hex(),
        kind=KeyKind(kind),
        environments=tuple(dict.fromkeys(environments)),
        created=key_file.now(),
        name=name,
        expires=until,
    )
    with _locked(path, as_json=as_json):
        file = _read(path, as_json=as_json)
        key_file.write(path, msgspec.structs.replace(file, keys=(*file.keys, record)))
    if as_json:
        print_json({"ok": True, "key": key, **_row(record)})
        return
    err().print(
        f"a {kind} key for {', '.join(record.environments)}, kept as a digest in {path}; it is shown only now:",
        markup=False,
    )
    for odd in _oddities(path.parent, project.project, record):
        err().print(f"warning: {odd}", markup=False, style="yellow")
    click.echo(key)


@keys_group.command("list")
@_scope_options
def list_keys(tenants: Path | None, tenant: str | None, project: str | None, as_json: bool) -> None:
    """List keys, of a project, of a tenant or of the instance; the keys themselves are not known.

    \b
    burgee keys list --tenant shop
    burgee keys list --tenants /srv/flags --tenant shop --project web
    """
    if (folder := _folder(tenants)) is None:
        control_keys.show(tenant, project, as_json=as_json)
        return
    path = key_file.path_of(folder, _project(tenant, project))
    file, known = _read(path, as_json=as_json), _environments(path.parent, str(project))
    if as_json:
        print_json([{**_row(each), "unknownEnvironments": _unknown(each, known)} for each in file.keys])
        return
    if not file.keys:
        err().print(f"{tenant}/{project} has no keys (hint: `burgee keys new` makes one)", markup=False)
        return
    table = Table("selector", "kind", "environments", "name", "created", "state", box=None, pad_edge=False)
    for each in file.keys:
        row = _row(each)
        unknown = _unknown(each, known)
        names = ", ".join(f"{name} (not in the document)" if name in unknown else name for name in each.environments)
        table.add_row(each.selector, each.kind, names, each.name, row["created"], row["state"])
    out().print(table, markup=False)


@keys_group.command("revoke")
@_scope_options
@click.argument("selector")
def revoke(tenants: Path | None, tenant: str | None, project: str | None, selector: str, as_json: bool) -> None:
    """Revoke the key that SELECTOR names (the third part of a key; `burgee keys list` shows it).

    \b
    burgee keys revoke --tenant shop 4fZ0k9QmX2aPb7Lc
    """
    if (folder := _folder(tenants)) is None:
        control_keys.revoke(tenant, selector, as_json=as_json)
        return
    path = key_file.path_of(folder, _project(tenant, project))
    with _locked(path, as_json=as_json):
        file = _read(path, as_json=as_json)
        found = next((each for each in file.keys if each.selector == selector), None)
        if found is None:
            fail(f"{path} has no key with that selector (hint: `burgee keys list`)", as_json=as_json)
        if found.revoked is None:
            gone = msgspec.structs.replace(found, revoked=key_file.now())
            others = tuple(gone if each is found else each for each in file.keys)
            key_file.write(path, msgspec.structs.replace(file, keys=others))
            found = gone
    if as_json:
        print_json({"ok": True, **_row(found)})
    else:
        err().print(f"{found.kind} key {found.selector} is revoked", markup=False)


keys_group.add_command(owner_command)


def _oddities(folder: Path, project: str, record: KeyRecord) -> Iterator[str]:
    """What may be a slip, and may be on its way: keys can be made before the document is there."""
    document = _document(folder, project)
    if document is None:
        yield f"{folder / project}.yaml is not there yet: the key opens nothing until it is"
        return
    known = _environments(folder, project)
    for name in _unknown(record, known):
        yield f"{document} has no environment `{name}` (hint: it has {', '.join(f'`{each}`' for each in known or ())})"


def _document(folder: Path, project: str) -> Path | None:
    return next((path for suffix in DOCUMENT_SUFFIXES if (path := folder / f"{project}{suffix}").is_file()), None)


def _environments(folder: Path, project: str) -> tuple[str, ...] | None:
    """Of the document; None where it cannot be said."""
    document = _document(folder, project)
    try:
        return environments_of(document.read_bytes()) if document is not None else None
    except (OSError, CompileError):
        return None


def _unknown(record: KeyRecord, known: tuple[str, ...] | None) -> list[str]:
    return [] if known is None else [each for each in record.environments if each not in known]


def _read(path: Path, *, as_json: bool) -> KeyFile:
    try:
        return key_file.parse(path.read_bytes())
    except FileNotFoundError:
        return KeyFile(())
    except (OSError, KeyFileError) as error:
        fail(f"{path}: {error}", as_json=as_json)


@contextmanager
def _locked(path: Path, *, as_json: bool) -> Iterator[None]:
    """One writer at a time: two that read the same file would lose one's key."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        fail(f"{path.parent}: {(error.strerror or 'cannot be written').lower()}", as_json=as_json)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    except OSError as error:
        fail(f"{path}: {(error.strerror or 'cannot be written').lower()}", as_json=as_json)
    finally:
        os.close(descriptor)


def _row(record: KeyRecord) -> dict[str, Any]:
    """A record as it is listed: all but the digest."""
    row: dict[str, Any] = msgspec.to_builtins(record)
    del row["sha256"]
    return {**row, "name": record.name, "state": record.state(key_file.now())}
