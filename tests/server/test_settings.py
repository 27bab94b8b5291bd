"""Every setting is a flag, a variable and a line of the documentation."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from server.cli import main
from server.settings import Settings, flag_of, options, variable_of
from tests.server.running import ROOT


def parse(arguments: list[str], env: dict[str, str] | None = None) -> Settings:
    made: list[Settings] = []
    command = click.Command("serve", params=list(options()), callback=lambda **given: made.append(Settings(**given)))
    result = CliRunner().invoke(command, arguments, env=env, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return made[0]


def test_the_defaults_of_the_flags_are_those_of_the_settings(tmp_path: Path) -> None:
    assert parse(["--tenants", str(tmp_path)]) == Settings(tenants=tmp_path)


def test_a_variable_sets_and_a_flag_wins(tmp_path: Path) -> None:
    env = {"BURGEE_TENANTS": str(tmp_path), "BURGEE_PORT": "1", "BURGEE_ACCESS_LOG": "1", "BURGEE_POLL_INTERVAL": "2.5"}
    assert parse([], env) == Settings(tenants=tmp_path, port=1, access_log=True, poll_interval=2.5)
    assert parse(["--port", "2", "--no-access-log"], env).port == 2


@pytest.mark.parametrize(
    "arguments", ["--port 65536", "--port -1", "--poll-interval nan", "--tenant-requests inf", "--body-timeout 0"]
)
def test_what_cannot_be_is_refused(tmp_path: Path, arguments: str) -> None:
    command = click.Command("serve", params=list(options()), callback=lambda **given: None)
    result = CliRunner().invoke(command, ["--tenants", str(tmp_path), *arguments.split()])
    assert result.exit_code == 2
    assert arguments.split()[0] in result.output


def test_every_setting_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    for each in fields(Settings):
        assert f"| `{flag_of(each.name)}` | `{variable_of(each.name)}` |" in page


def test_a_file_without_an_edge_key_is_an_error_at_the_start(tmp_path: Path) -> None:
    """And not one of the agent, again and again."""
    keys = tmp_path / "edge.key"
    keys.write_text("# to be filled\n")
    words = [
        "edge",
        "--upstream",
        "http://127.0.0.1:9",
        "--upstream-key-file",
        str(keys),
        "--state",
        str(tmp_path / "s"),
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code != 0
    assert "`--upstream-key-file`: there is no key in the file" in done.output
