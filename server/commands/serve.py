"""`burgee serve`: the server, with every setting as an option and as an environment variable."""

from __future__ import annotations

import errno
import ssl
import sys
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress as Bar

from server.commands.output import err, fail, json_option, print_json
from server.logs import configure_logs
from server.processes.serve import Addresses, serve
from server.quotas import QuotasError
from server.record.database import RecordError
from server.settings import Settings, options

EXAMPLES = "examples.txt"


def run(*, as_json: bool, print_examples: bool = False, control_only: bool = False, **given: Any) -> None:
    settings = Settings(**given)
    configure_logs(settings.log_format, settings.log_level)
    folder = settings.tenants or settings.import_
    examples = folder / EXAMPLES if folder else None

    def announce(addresses: Addresses) -> None:
        if as_json:
            print_json(addresses)
        elif print_examples and examples and examples.is_file():
            click.echo(_filled_in(examples, addresses))
        sys.stdout.flush()

    bar = Bar(console=err(), transient=True, disable=as_json or not sys.stderr.isatty())
    task = bar.add_task("compiling", total=None)

    def progress(done: int, total: int) -> None:
        if done == 0:
            bar.start()
        bar.update(task, completed=done, total=total)
        if done >= total:
            bar.stop()

    try:
        status = serve(settings, announce=announce, progress=progress, control_only=control_only)
    except (OSError, ssl.SSLError) as error:
        fail(_why_not(error), as_json=as_json)
    except (QuotasError, RecordError) as error:
        fail(str(error), as_json=as_json)
    sys.exit(status)


def _why_not(error: OSError) -> str:
    why = error.strerror or str(error)
    if error.errno != errno.EADDRINUSE:
        return why
    return f"{why} (hint: `--port` and `--management-port`, or BURGEE_PORT and BURGEE_MANAGEMENT_PORT, choose others)"


def _filled_in(examples: Path, addresses: Addresses) -> str:
    text = examples.read_text()
    for each, port in (("data", 8080), ("management", 8081), ("control", 8082)):
        text = text.replace(f"http://127.0.0.1:{port}", addresses.get(each, ""))
    return text


serve_command = click.Command(
    "serve",
    callback=run,
    params=[
        *options(),
        click.Option(
            ["--print-examples"],
            is_flag=True,
            help=f"Print the folder's {EXAMPLES} once it is served, with the right ports.",
        ),
    ],
    help="Serve until SIGTERM: a control plane with its record, and what is published there; or a folder of tenants "
    "(--tenants), or what another Burgee has (--upstream). SIGHUP replaces every process, one after the other.",
)
json_option(serve_command)
