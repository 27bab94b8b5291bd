"""`burgee edge`: serve what another Burgee has; `burgee control`: a control plane and nothing else.

    burgee edge --upstream https://flags.example --upstream-key-file edge.key
    burgee control --database postgresql://flags@db/burgee --redis redis://cache

Both are `burgee serve` with fewer settings.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import click

from server.commands.output import json_option
from server.commands.serve import run
from server.settings import Settings, options

_OF_CONTROL = (
    "database", "import_", "redis", "control_host", "control_port", "webhook_allow", "state", "management_host",
    "management_port", "compile_workers", "head_timeout", "keepalive_timeout", "shutdown_timeout",
    "log_format", "log_level",
)  # fmt: skip
# Redis has all there is of every tenant, and an edge gets what its key sees: the two must not meet on one host.
_NOT_OF_EDGES = ("tenants", "database", "import_", "redis", "control_host", "control_port", "webhook_allow",
                 "poll_interval", "settle_time", "compile_workers")  # fmt: skip
_OF_EDGES = tuple(each.name for each in fields(Settings) if each.name not in _NOT_OF_EDGES)


def _edge(*, upstream: str | None, **given: Any) -> None:
    if upstream is None:
        raise click.UsageError("an edge needs `--upstream` (hint: the URL of a control plane, or of any Burgee)")
    run(upstream=upstream, **given)


def _control(**given: Any) -> None:
    run(control_only=True, **given)


edge_command = click.Command(
    "edge",
    callback=_edge,
    params=[*options(_OF_EDGES)],
    help="Serve what another Burgee has, as far as an edge key sees it (--upstream-key-file). It begins with what is "
    "on disk where that one cannot be reached, and keeps what it has whatever is answered there.",
)
control_command = click.Command(
    "control",
    callback=_control,
    params=[*options(_OF_CONTROL)],
    help="Run a control plane alone: the record, the admin API, and what edges ask. No flags are evaluated here.",
)
for _each in (edge_command, control_command):
    json_option(_each)
