"""`burgee version`: which build this is."""

from __future__ import annotations

import platform

import click

from rules_compiler.codegen.layout import FORMAT_VERSION
from server.commands.output import json_option, print_json
from server.version import version


@click.command("version")
@json_option
def version_command(as_json: bool) -> None:
    """Print the version, and the snapshot format it writes."""
    found = {"version": version(), "snapshotFormat": FORMAT_VERSION, "python": platform.python_version()}
    if as_json:
        print_json(found)
    else:
        click.echo(f"burgee {found['version']} (snapshot format {FORMAT_VERSION}, Python {found['python']})")
