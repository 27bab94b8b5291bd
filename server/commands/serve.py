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
from server.settings import Settings, options

EXAMPLES = "examples.txt"


def _run(*, as_json: bool, print_examples: bool, **given: Any) -> None:
    settings = Settings(**given)
    configure_logs(settings.log_format, settings.log_level)
    examples = settings.tenants / EXAMPLES

    def announce(addresses: Addresses) -> None:
        if as_json:
            print_json(addresses)
        elif print_examples and examples.is_file():
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
        status = serve(settings, announce=announce, progress=progress)
    except (OSError, ssl.SSLError) as error:
        fail(_why_not(error), as_json=as_json)
    except QuotasError as error:
        fail(str(error), as_json=as_json)
    sys.exit(status)


def _why_not(error: OSError) -> str:
    why = error.strerror or str(error)
    if error.errno != errno.EADDRINUSE:
        return why
    return f"{why} (hint: `--port` and `--management-port`, or BURGEE_PORT and BURGEE_MANAGEMENT_PORT, choose others)"


def _filled_in(examples: Path, addresses: Addresses) -> str:
    text = examples.read_text()
    return text.replace("http://127.0.0.1:8080", addresses["data"]).replace(
        "http://127.0.0.1:8081", addresses["management"]
    )


serve_command = click.Command(
    "serve",
    callback=_run,
    params=[
        *options(),
        click.Option(
            ["--print-examples"],
            is_flag=True,
            help=f"Print the folder's {EXAMPLES} once it is served, with the right ports.",
        ),
    ],
    help="Serve a folder of tenants until SIGTERM. SIGHUP reads every file again.",
)
json_option(serve_command)
