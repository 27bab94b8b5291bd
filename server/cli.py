"""The command `burgee`. One file per subcommand, under commands/, which is imported when it is asked for: what checks a
document does without a database and a server.

Exit codes: 0 done; 1 the document, snapshot or answer has errors; 2 wrong usage; 3 a control plane refuses, or cannot
be reached; 4 `--wait`: not every host has it yet.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from server.version import DISTRIBUTION

# In their order: what it is called, the module of server/commands/, the command there.
COMMANDS: Final = {
    "compile": "compile:compile_command",
    "lint": "lint:lint_command",
    "eval": "eval:eval_command",
    "explain": "explain:explain_command",
    "inspect": "inspect:inspect_command",
    "serve": "serve:serve_command",
    "control": "edge:control_command",
    "edge": "edge:edge_command",
    "hold": "host:hold_command",
    "release": "host:release_command",
    "import": "gitops:import_command",
    "export": "export_folder:export_command",
    "diff": "gitops:diff_command",
    "apply": "gitops:apply_command",
    "flags": "flags:flags_group",
    "drafts": "drafts:drafts_group",
    "publish": "publish:publish_command",
    "rollback": "publish:rollback_command",
    "promote": "publish:promote_command",
    "kill": "publish:kill_command",
    "pause": "hold:pause_command",
    "resume": "hold:resume_command",
    "pin": "hold:pin_command",
    "unpin": "hold:unpin_command",
    "history": "history:history_command",
    "tenants": "places:tenants_group",
    "projects": "places:projects_group",
    "environments": "places:environments_group",
    "keys": "keys:keys_group",
    "db": "db:db_group",
    "backup": "backup:backup_command",
    "restore": "backup:restore_command",
    "hosts": "places:hosts_command",
    "status": "places:status_command",
    "audit": "audit:audit_group",
    "version": "version:version_command",
}
WANTS_JSON = "burgee.json"


class Commands(click.Group):
    """A group that says also what is wrong with a call as JSON, where `--json` is part of it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"server.commands.{module}"), name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[WANTS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if not ctx.meta[WANTS_JSON]:
                raise
            from server.commands.output import fail  # rich is slow to import, and seldom needed

            fail(error.format_message(), as_json=True, code=error.exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name=DISTRIBUTION, prog_name=DISTRIBUTION, message="%(prog)s %(version)s")
def main() -> None:
    """Feature flags, compiled: check documents, make snapshots, ask them, serve them, and publish changes."""


if __name__ == "__main__":
    main()
