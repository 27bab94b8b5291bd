"""docs/deploy and "At 3 a.m." of docs/operations.md are true: options, variables, metrics and alerts exist."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from server.cli import main
from server.settings import Settings, variable_of
from tests.server.running import BULK, ROOT, Reply, Running, launched, request_of

DEPLOY = ROOT / "docs" / "deploy"
PAGE = (ROOT / "docs" / "operations.md").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
RULES: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
UNIT = (DEPLOY / "burgee.service").read_text()
BURGEE = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "burgee"}

WITH_A_NAME = re.compile(r"\b(burgee_[a-z_]+)(?:\{([^}]*)\})?")
OF_OTHERS = {"up"}
ELSEWHERE = re.compile("burgee_(redis|relay|control)_")  # series of a server with a control plane and Redis


@dataclass(frozen=True)
class Composed:
    """What compose.yaml starts, as processes of this machine."""

    host: Running
    control: str  # its address
    key: str  # of an owner
    series: dict[str, set[str]]


@pytest.fixture
def composed(tmp_path: Path, redis_url: str, postgres_url: str) -> Iterator[Composed]:
    def command(name: str, **instead: str) -> list[str]:
        return [instead.get(each, each).replace("redis://redis:6379/0", redis_url) for each in BURGEE[name]["command"]]

    alone = ("--management-port", "0", "--state")
    variables = {"BURGEE_DATABASE": postgres_url}
    assert variables.keys() == BURGEE["control"]["environment"].keys()
    control = [*command("control"), "--control-port", "0", *alone, str(tmp_path / "control")]
    with launched(control, tmp_path / "control.log", cwd=tmp_path, env=variables) as (at, _):
        owner = (tmp_path / "control" / "admin.key").read_text().strip()
        made = asked(at["control"], "POST", "/keys", owner, {"kind": "edge", "name": "hosts"})
        assert made.status == 201, made.body
        edge_key = tmp_path / "edge.key"
        edge_key.write_text(made.json["key"])
        urls = {"http://control:8082": at["control"], "/run/secrets/edge": str(edge_key)}
        host = [*command("host", **urls), "--port", "0", "--workers", "1", *alone, str(tmp_path / "host")]
        log = tmp_path / "host.log"
        with launched(host, log, cwd=tmp_path) as (of_host, process):
            running = Running(of_host["data"], of_host["management"], process, log)
            metrics = request_of(at["management"], "GET", "/metrics", None, {})
            yield Composed(running, at["control"], owner, known_series(metrics, running.manage("/metrics")))


def asked(control: str, method: str, path: str, key: str, body: Any = None, etag: str | None = None) -> Reply:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    if etag is not None:
        headers["If-Match"] = etag
    content = json.dumps(body).encode() if body is not None else None
    return request_of(control, method, f"/api/v1{path}", content, headers)


def test_what_the_compose_file_starts_serves_what_is_published(composed: Composed) -> None:
    def change(method: str, path: str, body: Any, etag: str | None = None) -> Any:
        done = asked(composed.control, method, path, composed.key, body, etag)
        assert done.status in (200, 201), done.body
        return done.json

    change("POST", "/tenants", {"name": "shop"})
    change("POST", "/tenants/shop/projects", {"name": "web"})
    project = "/tenants/shop/projects/web"
    change("POST", f"{project}/environments", {"name": "production"})
    flag = {"type": "string", "variants": {"a": "one", "b": "two"}, "fallthrough": "a"}
    change("PUT", f"{project}/flags/checkout", flag)
    key = change("POST", "/tenants/shop/keys", {"kind": "server", "project": "web", "environments": ["production"]})
    done = change("POST", f"{project}/environments/production/publish?wait=30", {}, '"0"')
    assert done["version"] == 1 and done["waited"]["done"]
    answer = composed.host.post(BULK, {"context": {}}, key=key["key"])
    assert (answer.status, answer.json["flags"][0]["value"]) == (200, "one")
    assert composed.host.manage("/status").json["source"] == "redis"


def help_of(subcommand: str) -> str:
    result = CliRunner().invoke(main, [subcommand, "--help"])
    assert result.exit_code == 0, result.output
    return result.output


def options_of(arguments: list[str]) -> Iterator[str]:
    return (each for each in arguments if each.startswith("--"))


@pytest.mark.parametrize("name", BURGEE)
def test_every_option_in_the_compose_file_exists(name: str) -> None:
    subcommand, *arguments = BURGEE[name]["command"]
    known = help_of(subcommand)
    for each in options_of(arguments):
        assert f"{each} " in known, each
    assert CliRunner().invoke(main, [subcommand, *arguments, "--help"]).exit_code == 0


def test_every_variable_exists() -> None:
    known = {variable_of(name) for name in Settings.__dataclass_fields__}
    named = {each for service in BURGEE.values() for each in service.get("environment", {})}
    assert named and named <= known


def test_the_compose_file_hangs_together() -> None:
    services, volumes, secrets = COMPOSE["services"], COMPOSE["volumes"], COMPOSE["secrets"]
    for service in services.values():
        assert {each.partition(":")[0] for each in service.get("volumes", ())} <= volumes.keys()
        assert set(service.get("secrets", ())) <= secrets.keys()
        assert service.get("depends_on", {}).keys() <= services.keys()
    text = (DEPLOY / "compose.yaml").read_text()
    for host in re.findall(r"(?:redis|http|postgresql)://(?:[^@\s]*@)?([a-z]+)", text):
        assert host in services
    for service in BURGEE.values():
        assert service["volumes"][0].partition(":")[2] == "/var/lib/burgee"
        if "build" in service:
            dockerfile = DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]
            assert dockerfile.resolve() == DEPLOY / "Dockerfile"


def test_the_image_keeps_its_state_where_the_compose_file_has_its_volume() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert "ENV STATE_DIRECTORY=/var/lib/burgee" in text and "VOLUME /var/lib/burgee" in text
    assert "USER burgee" in text
    assert help_of(re.findall(r'CMD \["(\w+)"\]', text)[0])
    for tool in ("gcc", "libc6-dev"):  # what the extensions are built with
        assert tool in text


def test_the_unit_runs_what_there_is() -> None:
    (command,) = re.findall(r"^ExecStart=/usr/local/bin/burgee (.*)$", UNIT, re.MULTILINE)
    subcommand, *arguments = command.split()
    known = help_of(subcommand)
    for each in options_of(arguments):
        assert f"{each} " in known
    # What systemd waits must be longer than what we do: drain, then requests in flight, then the processes.
    (longest,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert int(longest) > 2 * (Settings().shutdown_timeout + Settings().drain_delay)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "burgee.service"
    unit.write_text(UNIT.replace("/usr/local/bin/burgee", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def known_series(*metrics: Reply) -> dict[str, set[str]]:
    """Names of samples, with the names of their labels."""
    found: dict[str, set[str]] = {}
    for family in itertools.chain.from_iterable(text_string_to_metric_families(each.body.decode()) for each in metrics):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("with_redis", [False, True])
def test_every_alert_asks_for_series_that_there_are(
    server: Running, with_redis: bool, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue("composed").series if with_redis else known_series(server.manage("/metrics"))
    for rule in RULES:
        if ELSEWHERE.search(rule["expr"]) and not with_redis:
            continue
        named = WITH_A_NAME.findall(rule["expr"].replace('job="burgee"', ""))
        assert named or rule["expr"].split("{")[0] in OF_OTHERS, rule["alert"]
        for name, labels in named:
            assert name in found, f"{rule['alert']}: {name}"
            assert set(re.findall(r"(\w+)[!=~]+", labels)) <= found[name], rule["alert"]
        for labels in re.findall(r"by \(([^)]*)\)", rule["expr"]):
            asked = {each.strip() for each in labels.split(",")} - {"instance"}
            assert asked <= set().union(*(found[name] for name, _ in named)), rule["alert"]
        assert rule["expr"].count("(") == rule["expr"].count(")") and rule["labels"]["severity"] in ("page", "ticket")


def test_label_values_in_alerts_are_ones_that_there_are(server: Running) -> None:
    text = server.manage("/metrics").body.decode()
    for rule in RULES:
        for label, operator, value in re.findall(r'(\w+)(=|=~)"([^"]*)"', rule["expr"]):
            if label != "job" and operator in ("=", "=~"):
                for each in value.split("|"):
                    assert f'{label}="{each}"' in text, rule["alert"]


def test_every_alert_says_what_to_do() -> None:
    rows = re.findall(r"^\| `(Burgee\w+)` \| `(.*?)` \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
    described = {name: expression.replace(r"\|", "|") for name, expression, _, _ in rows}
    assert described == {rule["alert"]: rule["expr"] for rule in RULES}


def test_every_metric_that_the_page_alerts_on_has_a_rule() -> None:
    asked = " ".join(rule["expr"] for rule in RULES)
    for line in PAGE.splitlines():
        if line.startswith("| `burgee_") and "alert on" in line:
            names = re.findall(r"`(burgee_[a-z_]+)", line.split(" | ")[0])
            assert any(name in asked for name in names), line
