"""`burgee history`: the versions of an environment, and what is between two of them."""

from __future__ import annotations

import click

from server.client.difference import between
from server.client.standing import environment_path, read_document
from server.commands.control import asking, asks_control, environment_argument
from server.commands.differences import print_changes
from server.commands.output import err, print_json, print_table
from server.types import EnvironmentId


@click.command("history")
@environment_argument
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True, help="So many, newest first.")
@click.option("--diff", nargs=2, type=click.IntRange(1), metavar="FROM TO", help="What changed between two versions.")
@asks_control
def history_command(environment: EnvironmentId, limit: int, diff: tuple[int, int] | None, as_json: bool) -> None:
    """List the versions of an environment: when, by whom and why.

    \b
    burgee history shop/web/production
    burgee history shop/web/production --diff 16 17
    """
    here = f"{environment_path(environment.project_id, environment.environment)}/versions"
    with asking(as_json=as_json) as control:
        if diff is None:
            versions = list(control.pages(here, most=limit))
        else:
            before, after = (read_document(control.get(f"{here}/{number}/document").body) for number in diff)
    if diff is not None:
        changes = between(before, after, environment.environment)
        if as_json:
            print_json({"from": diff[0], "to": diff[1], "changes": changes})
        else:
            print_changes(changes)
    elif as_json:
        print_json(versions)
    elif not versions:
        err().print(f"{environment} has no version (hint: `burgee publish {environment}`)", markup=False)
    else:
        print_table(
            ("version", "at", "by", "kind", "message"),
            ((v["version"], v["createdAt"], v["createdBy"], v["kind"], v["message"]) for v in versions),
        )
