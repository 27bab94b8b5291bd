"""The command `burgee`. One file per subcommand, under commands/.

Exit codes: 0 done; 1 the document, snapshot or answer has errors; 2 wrong usage.
"""

from __future__ import annotations

from typing import Any

import click

from server.commands.audit import audit_group
from server.commands.backup import backup_command, restore_command
from server.commands.compile import compile_command
from server.commands.db import db_group
from server.commands.edge import control_command, edge_command
from server.commands.eval import eval_command
from server.commands.explain import explain_command
from server.commands.hold import hold_command, release_command
from server.commands.inspect import inspect_command
from server.commands.keys import keys_group
from server.commands.lint import lint_command
from server.commands.output import fail
from server.commands.serve import serve_command
from server.commands.version import version_command
from server.version import DISTRIBUTION

WANTS_JSON = "burgee.json"


class Commands(click.Group):
    """A group that says also what is wrong with a call as JSON, where `--json` is part of it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WANTS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if not ctx.meta[WANTS_JSON]:
                raise
            fail(error.format_message(), as_json=True, code=error.exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name=DISTRIBUTION, prog_name=DISTRIBUTION, message="%(prog)s %(version)s")
def main() -> None:
    """Feature flags, compiled: check documents, make snapshots, ask them, and serve them."""


for _command in (
    compile_command,
    lint_command,
    eval_command,
    explain_command,
    inspect_command,
    serve_command,
    control_command,
    edge_command,
    hold_command,
    release_command,
    keys_group,
    db_group,
    backup_command,
    restore_command,
    audit_group,
    version_command,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
