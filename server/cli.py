"""The command `burgee`. One file per subcommand, under commands/.

Exit codes: 0 done; 1 the document, snapshot or answer has errors; 2 wrong usage.
"""

from __future__ import annotations

import click

from server.commands.compile import compile_command
from server.commands.eval import eval_command
from server.commands.explain import explain_command
from server.commands.inspect import inspect_command
from server.commands.keys import keys_group
from server.commands.lint import lint_command
from server.commands.serve import serve_command
from server.commands.version import version_command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Feature flags, compiled: check documents, make snapshots, ask them, and serve them."""


for _command in (
    compile_command,
    lint_command,
    eval_command,
    explain_command,
    inspect_command,
    serve_command,
    keys_group,
    version_command,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
