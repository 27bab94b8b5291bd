"""The command `burgee`. One file per subcommand, under commands/.

Exit codes: 0 done; 1 the document, snapshot or answer has errors; 2 wrong usage; 3 a control plane refuses, or cannot
be reached; 4 `--wait`: not every host has it yet.
"""

from __future__ import annotations

from typing import Any

import click

from server.commands.audit import audit_group
from server.commands.backup import backup_command, restore_command
from server.commands.compile import compile_command
from server.commands.db import db_group
from server.commands.drafts import drafts_group
from server.commands.edge import control_command, edge_command
from server.commands.eval import eval_command
from server.commands.explain import explain_command
from server.commands.export_folder import export_command
from server.commands.flags import flags_group
from server.commands.gitops import apply_command, diff_command, import_command
from server.commands.history import history_command
from server.commands.hold import pause_command, pin_command, resume_command, unpin_command
from server.commands.host import hold_command, release_command
from server.commands.inspect import inspect_command
from server.commands.keys import keys_group
from server.commands.lint import lint_command
from server.commands.output import fail
from server.commands.places import environments_group, hosts_command, projects_group, status_command, tenants_group
from server.commands.publish import kill_command, promote_command, publish_command, rollback_command
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
    """Feature flags, compiled: check documents, make snapshots, ask them, serve them, and publish changes."""


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
    import_command,
    export_command,
    diff_command,
    apply_command,
    flags_group,
    drafts_group,
    publish_command,
    rollback_command,
    promote_command,
    kill_command,
    pause_command,
    resume_command,
    pin_command,
    unpin_command,
    history_command,
    tenants_group,
    projects_group,
    environments_group,
    keys_group,
    db_group,
    backup_command,
    restore_command,
    hosts_command,
    status_command,
    audit_group,
    version_command,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
