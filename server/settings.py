"""Every setting of the server, once: a flag of `burgee serve` and an environment variable each; the flag wins.

    --poll-interval 2        or        BURGEE_POLL_INTERVAL=2

becomes `Settings(..., poll_interval=2.0)`. The table in docs/operations.md lists them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_type_hints

import click

LogFormat = Literal["json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]
QuotaMode = Literal["enforce", "warn"]


def _setting(default: Any, explanation: str, *, least: float | None = None, most: float = 1e12) -> Any:
    return field(default=default, metadata={"help": explanation, "least": least, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    tenants: Path | None = _setting(
        None, "serve this folder, which has a folder per tenant, and no control plane beside it"
    )
    database: str | None = _setting(
        None, "the record: sqlite:///… or postgresql://…; by default a file record.db in the state folder"
    )
    import_: Path | None = _setting(None, "folder of tenants that fills the record while it is empty")
    redis: str | None = _setting(None, "redis://…, through which control planes tell many hosts what is published")
    upstream: str | None = _setting(
        None, "serve what another Burgee has, by its URL (or unix:/path/control.sock); no control plane here"
    )
    upstream_key_file: Path | None = _setting(None, "file with the edge key for it, or several, one a line")
    control_host: str = _setting("127.0.0.1", "address of the control plane: the admin API, and what edges ask")
    control_port: int = _setting(8082, "port of the control plane; 0 for any free one", least=0, most=65535)
    webhook_allow: str = _setting(
        "", "networks that webhooks may reach although they are not public: 10.0.0.0/8,fd00::/8"
    )
    state: Path | None = _setting(
        None, "folder for the record and for snapshots, kept over restarts; by default one in the user's state folder"
    )
    workers: int = _setting(0, "processes that answer; 0 for one per CPU", least=0, most=256)
    host: str = _setting("127.0.0.1", "address of the data plane; 0.0.0.0 for every interface")
    port: int = _setting(8080, "port of the data plane; 0 for any free one", least=0, most=65535)
    unix_socket: Path | None = _setting(None, "also serve the data plane on this Unix socket")
    tls_certificate: Path | None = _setting(None, "certificate chain (PEM): the data plane speaks TLS only")
    tls_key: Path | None = _setting(None, "private key (PEM) of the certificate")
    management_host: str = _setting("127.0.0.1", "address of the management port; it asks for no key")
    management_port: int = _setting(8081, "management port: health, metrics, status", least=0, most=65535)
    max_body_bytes: int = _setting(8 * 1024 * 1024, "largest request body; a larger one gets 413", least=1)
    head_timeout: float = _setting(10.0, "seconds for the head of a request to arrive", least=0.001)
    body_timeout: float = _setting(10.0, "seconds for a whole request body to arrive", least=0.001)
    keepalive_timeout: float = _setting(75.0, "seconds an idle connection is kept", least=0.0)
    tenant_requests: float = _setting(0.0, "requests a second of one tenant; 0 for no limit", least=0.0)
    tenant_evaluations: float = _setting(0.0, "flag evaluations a second of one tenant; 0 for no limit", least=0.0)
    tenant_bytes_in_flight: int = _setting(
        256 << 20, "bytes of bodies of one tenant that are being read; 0 for no limit", least=0
    )
    tenant_streams: int = _setting(10_000, "open event streams of one tenant; 0 for no limit", least=0)
    quota_mode: QuotaMode = _setting("enforce", "refuse what goes over a tenant's limit, or only count and log it")
    quotas: Path | None = _setting(None, "YAML file with limits of single tenants; SIGHUP reads it again")
    shed_after: float = _setting(
        0.01, "seconds of work that may wait when there is too much of it; 0 to never shed", least=0.0, most=60.0
    )
    max_age: float = _setting(
        0.0, "seconds after which answers say STALE when nothing confirms them; 0: never", least=0.0
    )
    event_streams: bool = _setting(True, "offer event streams in bulk answers, and serve them")
    event_stream_age: float = _setting(
        3600.0, "seconds after which an event stream ends, give or take a fifth", least=1.0
    )
    event_stream_heartbeat: float = _setting(
        25.0, "seconds between two comments on a quiet stream", least=1.0, most=3600
    )
    memory_budget: int = _setting(
        1 << 30, "bytes of snapshots a worker maps before it lets idle ones go", least=1 << 20
    )
    poll_interval: float = _setting(0.5, "seconds between two looks at the folder", least=0.01)
    settle_time: float = _setting(0.05, "seconds a changed file must have been still before it is read", least=0.0)
    compile_workers: int = _setting(1, "processes that compile documents", least=1)
    drain_delay: float = _setting(0.0, "seconds to go on serving, not ready, after SIGTERM", least=0.0)
    shutdown_timeout: float = _setting(10.0, "seconds for requests in flight to finish after that", least=0.0)
    counts_interval: float = _setting(
        5.0,
        "seconds between two looks at how often each flag answered what; 0 to count nothing",
        least=0.0,
        most=3600.0,
    )
    metrics_environments: str = _setting(
        "", "environments with series of their own in /metrics: globs, as shop/web/production,bank/*"
    )
    metrics_top: int = _setting(0, "so many of the busiest environments have them too", least=0, most=1000)
    metrics_flags: str = _setting("", "environments (globs) whose flags have series of their own")
    telemetry_sample: float = _setting(
        0.0, "share of the requests that become OpenTelemetry events; 0 for none", least=0.0, most=1.0
    )
    telemetry_context_ids: bool = _setting(False, "name the targeting key in those: personal data")
    log_format: LogFormat = _setting("json", "one JSON object a line, or text for people")
    log_level: LogLevel = _setting("info", "least severe event that is logged")
    access_log: bool = _setting(False, "log every request (without bodies, keys or queries)")

    def state_folder(self) -> Path:
        """--state; else systemd's choice; else one in the XDG base directory, for each folder or upstream."""
        if self.state is not None:
            return self.state
        if chosen := os.environ.get("STATE_DIRECTORY"):
            return Path(chosen)
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        if self.tenants is None and self.upstream is None:
            return Path(base) / "burgee" / "server"
        source = self.upstream if self.tenants is None else str(self.tenants.resolve())
        return Path(base) / "burgee" / hashlib.sha256(str(source).encode()).hexdigest()[:16]

    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.state_folder().absolute() / 'record.db'}"

    @property
    def has_control_plane(self) -> bool:
        """Is there one in this server?"""
        return self.tenants is None and self.upstream is None

    def worker_count(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))


def variable_of(name: str) -> str:
    """The environment variable of a setting.

    >>> variable_of("max_body_bytes"), variable_of("import_")
    ('BURGEE_MAX_BODY_BYTES', 'BURGEE_IMPORT')
    """
    return f"BURGEE_{name.rstrip('_').upper()}"


def flag_of(name: str) -> str:
    """
    >>> flag_of("max_body_bytes")
    '--max-body-bytes'
    """
    return f"--{name.rstrip('_').replace('_', '-')}"


def options(only: Collection[str] = ()) -> list[click.Option]:
    """The settings (or some of them) as options of a click command, in the order of the dataclass."""
    kinds: Mapping[str, Any] = get_type_hints(Settings)
    chosen = [each for each in fields(Settings) if not only or each.name in only]
    return [_option(each.name, kinds[each.name], each.default, each.metadata) for each in chosen]


class _Finite(click.FloatRange):
    """A range that NaN, which compares with nothing, is not in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        return number if number == number else self.fail(f"{value} is not a number", param, ctx)


def _option(name: str, kind: Any, default: Any, metadata: Mapping[str, Any]) -> click.Option:
    flag = flag_of(name)
    least, most = metadata["least"], metadata["most"]
    kind_of: dict[Any, Any] = {
        Path | None: click.Path(path_type=Path),
        str: click.STRING,
        str | None: click.STRING,
        int: click.IntRange(min=least, max=int(most)),
        float: _Finite(min=least, max=most),
        bool: click.BOOL,
        LogFormat: click.Choice(["json", "text"]),
        LogLevel: click.Choice(["debug", "info", "warning", "error"]),
        QuotaMode: click.Choice(["enforce", "warn"]),
    }
    return click.Option(
        [f"{flag}/--no-{flag[2:]}" if kind is bool else flag, name],
        type=kind_of[kind],
        envvar=variable_of(name),
        show_envvar=True,
        help=metadata["help"],
        default=default,
        show_default=True,
    )
