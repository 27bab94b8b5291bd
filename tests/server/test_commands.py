"""The command: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine import Snapshot
from server import keys
from server.cli import main
from server.sources import key_file
from tests.server.running import SAMPLES

WEB = SAMPLES / "shop" / "web.yaml"
CONTEXT = '{"targetingKey": "u-ada", "country": "DE"}'

BROKEN = """
flags:
  a:
    type: boolean
    variants: {yes: true}
    rules: [{when: 'country =', serve: yes}, {when: 'true', serve: nope}]
    fallthrough: yes
"""
ODD = "flags: {a: {type: boolean, variants: {yes: true, no: false}, fallthrough: yes}}"


def burgee(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], input=stdin)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.yaml"
    path.write_text(BROKEN)
    return path


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    path = tmp_path / "web.burgee"
    assert (
        burgee("compile", WEB, "-e", "production", "-o", path, "--version", "7", "--flag-set-id", "shop").exit_code == 0
    )
    return path


def test_compile_writes_a_snapshot(snapshot: Path) -> None:
    loaded = Snapshot.map(snapshot)
    assert (loaded.environment, loaded.version, loaded.flag_set_id) == ("production", 7, "shop")


def test_compile_all_environments(tmp_path: Path) -> None:
    result = burgee("compile", WEB, "--all", "-o", tmp_path / "out", "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 0 and answer["ok"] and not result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"staging.burgee", "production.burgee"}
    assert [row["flags"] for row in answer["snapshots"]] == [13, 13]


def test_compile_says_what_is_wrong_as_a_compiler_does(broken: Path, tmp_path: Path) -> None:
    result = burgee("compile", broken, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stdout == ""
    *lines, count = result.stderr.splitlines()
    assert len(lines) >= 2
    assert all(re.match(rf"{broken}:6: flags\.a\..*: error\[B\d+\]: ", line) for line in lines)
    assert count == f"{broken}: {len(lines)} errors"
    assert not (tmp_path / "out").exists()
    as_json = burgee("compile", broken, "-o", tmp_path / "out", "--json")
    assert as_json.exit_code == 1 and as_json.stderr == ""
    assert len(json.loads(as_json.stdout)["diagnostics"]) == len(lines)


def test_compile_needs_an_environment_where_there_are_several(tmp_path: Path) -> None:
    assert burgee("compile", WEB, "-o", tmp_path / "out").exit_code == 1
    assert burgee("compile", WEB, "-o", tmp_path / "out", "-e", "nowhere").exit_code == 1


def test_compile_cannot_write_everywhere(tmp_path: Path) -> None:
    result = burgee("compile", WEB, "-e", "staging", "-o", tmp_path / "no" / "folder")
    assert result.exit_code == 1
    assert "no such file or directory" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["nonsense"], ["compile"], ["compile", WEB], ["compile", "/no/such/file", "-o", "x"],
        ["compile", WEB, "-o", "x", "--all", "-e", "staging"], ["compile", WEB, "-o", "x", "--version", "-1"],
        ["eval", WEB], ["eval", WEB, "reviews", "--all"], ["eval", WEB, "reviews", "--now", "soon"],
        ["eval", WEB, "reviews", "-e", "staging", "-c", "@/no/such/file"], ["serve", "--port", "x"], ["keys", "new"],
    ],
)  # fmt: skip
def test_wrong_usage_is_2(arguments: list[str | Path]) -> None:
    assert burgee(*arguments).exit_code == 2


def test_wrong_usage_is_json_where_json_is_wanted() -> None:
    for arguments in (["lint", "/no/such/file"], ["eval", WEB], ["lint", WEB, "--nonsense"], ["nonsense"]):
        result = burgee(*arguments, "--json")
        assert result.exit_code == 2 and result.stderr == ""
        answer = json.loads(result.stdout)
        assert answer["ok"] is False and answer["error"]


def test_a_snapshot_is_not_a_document(snapshot: Path, tmp_path: Path) -> None:
    for result in (burgee("lint", snapshot), burgee("compile", snapshot, "-o", tmp_path / "out")):
        assert result.exit_code == 1 and "a snapshot, where a document is wanted" in result.stderr


def test_lint(broken: Path, tmp_path: Path) -> None:
    assert burgee("lint", WEB).exit_code == 0
    assert burgee("lint", broken).exit_code == 1
    odd = tmp_path / "odd.yaml"
    odd.write_text(ODD)
    assert burgee("lint", odd).exit_code == 0
    strict = burgee("lint", odd, "--strict", "--json")
    assert strict.exit_code == 1
    answer = json.loads(strict.stdout)
    assert answer["ok"] is False
    assert {each["severity"] for each in answer["diagnostics"]} == {"warning"}


def test_eval_of_a_document_and_of_its_snapshot_agree(snapshot: Path) -> None:
    of_document = burgee("eval", WEB, "new-checkout", "-e", "production", "-c", CONTEXT, "--json")
    of_snapshot = burgee("eval", snapshot, "new-checkout", "-c", CONTEXT, "--json")
    assert of_document.exit_code == of_snapshot.exit_code == 0
    left, right = json.loads(of_document.stdout), json.loads(of_snapshot.stdout)
    assert right["metadata"] == {"flagSetId": "shop", "version": "7"}
    assert {**left, "metadata": 0} == {**right, "metadata": 0}
    assert left["variant"] == "one-page"


def test_eval_reads_a_context_from_where_it_is_told(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "context.json").write_text(CONTEXT)
    answers = [
        burgee("eval", snapshot, "new-checkout", "-c", CONTEXT).stdout,
        burgee("eval", snapshot, "new-checkout", "-c", f"@{tmp_path / 'context.json'}").stdout,
        burgee("eval", snapshot, "new-checkout", "-c", "-", stdin=CONTEXT).stdout,
    ]
    assert answers[0] == answers[1] == answers[2]
    assert "one-page-v3" in answers[0]


def test_eval_all_and_what_a_client_sees(snapshot: Path) -> None:
    every = burgee("eval", snapshot, "--all", "-c", CONTEXT)
    assert every.exit_code == 0 and len(every.stdout.splitlines()) == 14
    client = json.loads(burgee("eval", snapshot, "--all", "--client", "-c", CONTEXT, "--json").stdout)
    assert 0 < len(client["flags"]) < 13


def test_eval_at_another_time() -> None:
    game = SAMPLES / "game" / "backend.yaml"
    seasons = {
        now: json.loads(burgee("eval", game, "season-pass", "--now", now, "--json").stdout)["value"]
        for now in ("2026-12-07T23:59:59Z", "2026-12-08T00:00:00Z", "1796688000000")
    }
    assert list(seasons.values()) == ["season-8", "season-9", "season-9"]


@pytest.mark.parametrize(
    ("flag", "context", "code"),
    [
        ("nothing", "{}", "FLAG_NOT_FOUND"),
        ("new-checkout", '{"country":"DE"}', "TARGETING_KEY_MISSING"),
        ("reviews", "[]", "INVALID_CONTEXT"),
        ("reviews", "{", "PARSE_ERROR"),
        ("reviews", "{}, {}", "PARSE_ERROR"),
        ("reviews", '{}, "more": {}', "PARSE_ERROR"),
        ("reviews", "", "PARSE_ERROR"),
    ],
)
def test_eval_that_fails_is_1(snapshot: Path, flag: str, context: str, code: str) -> None:
    result = burgee("eval", snapshot, flag, "-c", context)
    assert result.exit_code == 1 and code in result.stderr
    as_json = burgee("eval", snapshot, flag, "-c", context, "--json")
    assert as_json.exit_code == 1 and json.loads(as_json.stdout)["errorCode"] == code


def test_places_in_a_context_count_from_its_start(snapshot: Path) -> None:
    assert "at byte 8\n" in burgee("eval", snapshot, "reviews", "-c", '{"age": nonsense}').stderr
    assert "at byte 8\n" in burgee("explain", snapshot, "reviews", "-c", '{"age": nonsense}').stderr


def test_the_nearest_flag_is_named(snapshot: Path) -> None:
    for command in ("eval", "explain"):
        assert "(hint: did you mean `reviews`?)" in burgee(command, snapshot, "review").stderr
    assert "(hint: did you mean `reviews`?)" in burgee("inspect", snapshot, "--flag", "review").stderr


@pytest.mark.parametrize("now", ["9" * 15, "9" * 5000, "2026-11-22T14:00:00", "-1"])
def test_moments_out_of_range(snapshot: Path, now: str) -> None:
    assert burgee("eval", snapshot, "reviews", "--now", now).exit_code == 2


def test_explain(snapshot: Path) -> None:
    text = burgee("explain", snapshot, "new-checkout", "-c", CONTEXT)
    assert text.exit_code == 0 and "rule `testers`" in text.stdout
    answer = json.loads(burgee("explain", snapshot, "new-checkout", "-c", CONTEXT, "--json").stdout)
    assert answer["flag"] == "new-checkout" and len(answer["rules"]) == 3
    assert burgee("explain", snapshot, "nothing").exit_code == 1
    for context in ("{", "[]", '{}, "more": {}'):
        assert burgee("explain", snapshot, "reviews", "-c", context).exit_code == 1


def test_inspect(snapshot: Path) -> None:
    text = burgee("inspect", snapshot)
    assert text.exit_code == 0
    for part in ("production", "source_map", "semver(app.version)", "new-checkout", "├── yes: "):
        assert part in text.stdout
    only = burgee("inspect", snapshot, "--flag", "reviews")
    assert only.stdout.splitlines() == [line for line in text.stdout.splitlines() if line.startswith("reviews ")]
    answer = json.loads(burgee("inspect", snapshot, "--json").stdout)
    assert len(answer["flags"]) == 13 and answer["size"] == snapshot.stat().st_size
    assert burgee("inspect", snapshot, "--flag", "nothing").exit_code == 1


def test_a_torn_snapshot_is_refused(snapshot: Path) -> None:
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    commands: list[list[str | Path]] = [
        ["inspect", snapshot],
        ["eval", snapshot, "--all"],
        ["explain", snapshot, "reviews"],
    ]
    for command in commands:
        result = burgee(*command)
        assert result.exit_code == 1 and str(snapshot) in result.stderr


def test_keys(tenants: Path) -> None:
    where = ["--tenants", str(tenants), "--tenant", "acme", "--project", "app"]
    made = burgee("keys", "new", *where, "-e", "production", "-e", "staging", "--kind", "client", "--name", "web")
    key = made.stdout.strip()
    path = tenants / "acme" / "app.keys.yaml"
    assert made.exit_code == 0 and key not in made.stderr and key not in path.read_text()
    second = json.loads(burgee("keys", "new", *where, "-e", "production", "--kind", "server", "--json").stdout)
    assert keys.selector_of(second["key"]) == second["selector"]
    listed = json.loads(burgee("keys", "list", *where, "--json").stdout)
    assert [(row["kind"], row["environments"], row["state"]) for row in listed] == [
        ("client", ["production", "staging"], "active"),
        ("server", ["production"], "active"),
    ]
    assert all("sha256" not in row for row in listed)
    selector = key.split("_")[2]
    assert selector in burgee("keys", "list", *where).stdout
    assert burgee("keys", "revoke", *where, selector).exit_code == 0
    first = key_file.parse(path.read_bytes()).keys[0]
    assert first.revoked is not None
    assert burgee("keys", "revoke", *where, selector).exit_code == 0  # again: nothing changes
    assert key_file.parse(path.read_bytes()).keys[0] == first
    assert burgee("keys", "revoke", *where, "x" * 16).exit_code == 1


def test_slips_with_keys_are_pointed_out(tenants: Path) -> None:
    where = ["--tenants", str(tenants), "--tenant", "acme", "--project", "app"]
    new = ["keys", "new", *where, "--kind", "server", "-e"]
    assert "app.yaml is not there yet" in burgee(*new, "production").stderr
    (tenants / "acme" / "app.yaml").write_text("environments: [live]\nflags: {}")
    assert "has no environment `production` (hint: it has `live`)" in burgee(*new, "production").stderr
    assert "warning" not in burgee(*new, "live").stderr
    assert burgee("keys", "list", *where).stdout.count("production (not in the document)") == 2
    listed = json.loads(burgee("keys", "list", *where, "--json").stdout)
    assert [row["unknownEnvironments"] for row in listed] == [["production"], ["production"], []]


def test_only_new_makes_a_folder(tenants: Path) -> None:
    where = ["--tenants", str(tenants), "--tenant", "nobody", "--project", "app"]
    assert "nobody/app has no keys" in burgee("keys", "list", *where).stderr
    assert burgee("keys", "revoke", *where, "x" * 16).exit_code == 1
    assert not (tenants / "nobody").exists()


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "", "a b", "x" * 129])
def test_keys_stay_in_the_folder(tenants: Path, name: str) -> None:
    for option in ("--tenant", "--project"):
        where = {"--tenant": "acme", "--project": "app", option: name}
        arguments = [part for pair in where.items() for part in pair]
        result = burgee("keys", "new", "--tenants", tenants, *arguments, "-e", "production", "--kind", "server")
        assert result.exit_code == 2
    assert list((tenants / "acme").iterdir()) == []


def test_a_broken_key_file_is_left_alone(tenants: Path) -> None:
    path = tenants / "acme" / "app.keys.yaml"
    path.write_text("keys: hunter2")
    where = ["--tenants", str(tenants), "--tenant", "acme", "--project", "app"]
    result = burgee("keys", "new", *where, "-e", "production", "--kind", "server")
    assert result.exit_code == 1 and "hunter2" not in result.output
    assert path.read_text() == "keys: hunter2"


def test_version_and_help() -> None:
    assert burgee("version").stdout.startswith("burgee ")
    assert burgee("--version").stdout.startswith("burgee ")
    assert json.loads(burgee("version", "--json").stdout)["snapshotFormat"] == 1
    for command in ("compile", "lint", "eval", "explain", "inspect", "serve", "version"):
        assert "--json" in burgee(command, "--help").stdout
