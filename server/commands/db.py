"""`burgee db migrate|check`: the schema of the record."""

from __future__ import annotations

import click

from server.commands.database import database_option, with_record
from server.commands.output import counted, err, json_option, out, print_json
from server.record.schema import check, migrate, newest_revision


@click.group("db")
def db_group() -> None:
    """Look after the database of the record."""


@db_group.command("migrate")
@database_option
@json_option
def migrate_command(database: str | None, as_json: bool) -> None:
    """Bring the database to the schema of this program; make it where there is none.

    `burgee serve` and `burgee control` do so themselves at their start. Schemas only ever grow: the version of Burgee
    before this one can go on using the database meanwhile.
    """
    applied = with_record(database, migrate, as_json=as_json, there=False)
    if as_json:
        print_json({"ok": True, "schema": newest_revision(), "applied": applied})
    elif applied:
        out().print(f"schema {newest_revision()}: applied {counted(len(applied), 'migration')}")
    else:
        out().print(f"schema {newest_revision()}: nothing to do")


@db_group.command("check")
@database_option
@json_option
def check_command(database: str | None, as_json: bool) -> None:
    """Say what is wrong with the database: its schema, its settings, its file. Exit code 1 where anything is."""
    faults = with_record(database, lambda record, _: check(record), as_json=as_json)
    if as_json:
        rows = [{"code": each.code, "message": each.message, "hint": each.hint} for each in faults]
        print_json({"ok": not faults, "schema": newest_revision(), "faults": rows})
    for each in () if as_json else faults:
        err().print(f"error: {each.message} (hint: {each.hint})", markup=False, style="red")
    if not faults and not as_json:
        out().print(f"schema {newest_revision()}: nothing is wrong")
    if faults:
        raise SystemExit(1)
