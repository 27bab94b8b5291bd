"""`burgee keys owner`: a new owner of the instance, written straight into the record, for when every other is lost."""

from __future__ import annotations

import click

from server import keys
from server.commands.database import database_option, with_record
from server.commands.output import err, json_option, print_json
from server.record.audit import Actor
from server.record.database import Record
from server.record.keys import NewKey, add_key
from server.types import KeyKind

BY = Actor("keys owner")  # in the audit


@click.command("owner")
@database_option
@click.option("--name", default="made on the database", help="Whose key it is, for people.")
@json_option
def owner_command(database: str | None, name: str, as_json: bool) -> None:
    """Make a key that owns the instance and print it, once: for when all others are lost.

    It asks no control plane: who may write to the database may do so. The audit has it.

    \b
    burgee keys owner --database postgresql://flags@db/burgee
    """
    key = keys.new_key(KeyKind.ADMIN)
    selector = keys.selector_of(key) or ""
    new = NewKey(selector, keys.digest_of(key).hex(), KeyKind.ADMIN, role="owner", name=name[:256])

    async def make(record: Record, _: object) -> None:
        async with record.change() as tx:
            await add_key(tx, new, by=BY)

    with_record(database, make, as_json=as_json)
    if as_json:
        print_json({"ok": True, "key": key, "selector": selector})
        return
    err().print("an owner of the instance, kept as a digest; it is shown only now:", markup=False)
    click.echo(key)
