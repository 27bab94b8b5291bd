"""`burgee audit`: who changed what, and does the history in the database fit together?"""

from __future__ import annotations

import click

from server.client.control import path_of
from server.commands.control import Place, asking, asks_control
from server.commands.database import Report, database_option, with_record
from server.commands.output import counted, err, fail, json_option, out, print_json, print_table
from server.record.database import Record
from server.record.verify import Chain, verify


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


@audit_group.command("verify")
@click.option("--tenant", help="Its chain only.")
@database_option
@json_option
def verify_command(tenant: str | None, database: str | None, as_json: bool) -> None:
    """Walk the chain of each tenant, and name the first row that does not fit. Exit code 1 where there is one.

    Each row is hashed with the one before it, so nobody edits, deletes or moves one unseen. Whoever can write the whole
    database can write a whole new chain: keep the heads that this prints with --json elsewhere to see that too.
    """

    async def work(record: Record, report: Report) -> tuple[Chain, ...]:
        return await verify(record, tenant, lambda done, total: report("rows", done, total))

    try:
        chains = with_record(database, work, as_json=as_json)
    except LookupError as error:
        fail(str(error.args[0]), as_json=as_json)
    broken = [each for each in chains if each.broken]
    if as_json:
        print_json({"ok": not broken, "chains": [_as_json(each) for each in chains]})
    for each in () if as_json else chains:
        name = each.tenant or "(no tenant)"
        if each.broken:
            err().print(f"error: {name}: row {each.broken.number}: {each.broken.message}", markup=False, style="red")
        else:
            out().print(f"{name}: {counted(each.rows, 'row')}, head {each.head[:16] or '-'}", markup=False)
    if broken:
        raise SystemExit(1)


def _as_json(chain: Chain) -> dict[str, object]:
    found: dict[str, object] = {"tenant": chain.tenant, "rows": chain.rows, "head": chain.head}
    if chain.broken:
        found["broken"] = {"number": chain.broken.number, "message": chain.broken.message}
    return found
