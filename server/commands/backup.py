"""`burgee backup FILE`, `burgee restore FILE`: all of the record in one file, the same for SQLite and Postgres."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from server.commands.database import database_option, with_record
from server.commands.output import counted, json_option, out, print_json
from server.record.backup import back_up
from server.record.restore import restore


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@database_option
@json_option
def backup_command(file: Path, database: str | None, as_json: bool) -> None:
    """Write all of the record to FILE, as it is at one moment, while it is used.

    FILE replaces one of that name when it is whole. It holds digests of keys and the secrets of webhooks: nobody but
    you can read it.
    """
    header = with_record(database, lambda record, report: back_up(record, file, report), as_json=as_json)
    size = file.stat().st_size
    if as_json:
        print_json({"ok": True, "schema": header.schema, "epoch": header.epoch, "rows": header.counts, "bytes": size})
    else:
        rows = counted(sum(header.counts.values()), "row")
        out().print(f"{file}: {rows}, {counted(header.counts['versions'], 'version')}, {size:,} bytes", markup=False)


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@database_option
@click.option("--replace", is_flag=True, help="Drop what the database holds now.")
@click.option("--keep-epoch", is_flag=True, help="Keep all numbers: the database moves, and has lost nothing.")
@json_option
def restore_command(file: Path, database: str | None, replace: bool, keep_epoch: bool, as_json: bool) -> None:
    """Make FILE the record of an empty database. Stop the control plane before.

    Hosts may have newer versions than FILE. So that they take what it holds, what was live is made anew as a version of
    a new epoch, higher than any before. With --keep-epoch nothing is made anew: only for a database that moves, and
    that nobody published to since the backup.
    """
    done = with_record(
        database,
        lambda record, report: restore(record, file, replace=replace, keep_epoch=keep_epoch, progress=report),
        as_json=as_json,
        there=False,
    )
    if as_json:
        print_json({"ok": True, "epoch": done.epoch, "versions": done.versions, "rows": done.header.counts})
        return
    made = datetime.fromtimestamp(done.header.created_at, UTC).isoformat(timespec="seconds")
    rows = counted(sum(done.header.counts.values()), "row")
    out().print(f"restored {rows} of {made}; epoch {done.epoch}, {counted(done.versions, 'new version')}")
