"""What the commands on the record itself share: which database, a progress bar, and what goes wrong said in a line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
from rich.progress import Progress

from server.commands.output import err, fail
from server.record.database import Record, RecordError, open_record
from server.settings import Settings, variable_of

T = TypeVar("T")
Report = Callable[[str, int, int], None]

database_option = click.option(
    "--database",
    envvar=variable_of("database"),
    show_envvar=True,
    help="sqlite:///… or postgresql://…; by default the file record.db in the state folder.",
)


def default_database() -> str:
    """The record of a server that is started without --database, by the same user."""
    state = os.environ.get(variable_of("state"))
    return Settings(state=Path(state) if state else None).database_url()


def with_record(
    url: str | None, work: Callable[[Record, Report], Awaitable[T]], *, as_json: bool, there: bool = True
) -> T:
    """Runs it on the database, with a bar on a terminal. `there`: a file that is missing is not made, but an error."""
    url = url or default_database()

    async def run(report: Report) -> T:
        if there and url.startswith("sqlite") and not Path(url.partition("///")[2].partition("?")[0]).exists():
            raise RecordError(f"there is no database `{url.partition('///')[2]}` (hint: --database)")
        record = await open_record(url, patient=True)
        try:
            return await work(record, report)
        finally:
            await record.close()

    try:
        with Progress(console=err(), transient=True, disable=as_json or not err().is_terminal) as bar:
            task = bar.add_task("", total=None)
            return asyncio.run(run(lambda what, done, of: bar.update(task, description=what, completed=done, total=of)))
    except RecordError as error:
        fail(str(error), as_json=as_json)
    except OSError as error:
        fail(f"{error.filename}: {(error.strerror or str(error)).lower()}", as_json=as_json)
