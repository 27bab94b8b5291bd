"""`burgee audit list`: who changed what, newest last."""

from __future__ import annotations

import click

from server.client.control import path_of
from server.commands.control import Place, asking, asks_control
from server.commands.output import print_json, print_table


@click.group("audit")
def audit_group() -> None:
    """Look at who changed what."""


@audit_group.command("list")
@click.argument("tenant", type=Place(1, 1), required=False, metavar="[TENANT]")
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True, help="So many rows.")
@click.option("--after", type=click.IntRange(0), default=0, help="Only rows with a higher number.")
@asks_control
def list_audit(tenant: tuple[str] | None, limit: int, after: int, as_json: bool) -> None:
    """List who changed what of TENANT, or of the instance itself.

    \b
    burgee audit list shop --limit 20
    """
    path = path_of("tenants", tenant[0], "audit") if tenant else "/audit"
    with asking(as_json=as_json) as control:
        rows = list(control.pages(path, {"after": after} if after else {}, most=limit))
    if as_json:
        print_json(rows)
    else:
        columns = ("number", "at", "actor", "action", "target")
        print_table(columns, ((row[name] for name in columns) for row in rows))
