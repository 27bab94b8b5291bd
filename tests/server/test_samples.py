"""The sample tenants: believable, without a warning, and everything that their README says of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from engine import Snapshot
from rules_compiler import compile_flags, lint
from server import keys
from server.sources import key_file
from server.sources.environments import environments_of
from tests.server.running import BULK, ROOT, SAMPLES, Running

DOCUMENTS = sorted(path for path in SAMPLES.glob("*/*.yaml") if not path.name.endswith(key_file.SUFFIX))
README = (ROOT / "examples" / "README.md").read_text()
EXAMPLES = (SAMPLES / "examples.txt").read_text()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.parent.name)
def test_the_compiler_has_nothing_to_say(path: Path) -> None:
    assert lint(path.read_bytes()) == []


def test_there_are_three_tenants_and_thirty_flags() -> None:
    count = 0
    for path in DOCUMENTS:
        content = path.read_bytes()
        flags = len(Snapshot.from_bytes(compile_flags(content, environment=environments_of(content)[0])))
        assert re.search(
            rf"\| {path.parent.name} \| \[`{path.stem}`\].* \| {', '.join(environments_of(content))} \| {flags} \|",
            README,
        )
        count += flags
    assert len(DOCUMENTS) == 3
    assert count >= 30


FEATURES = (
    'include: exclude: by: salt: split: prerequisites: environments: clientVisible: segment(" flag(" semver( '
    "timestamp( duration( now ip( cidr( .matches( .exists( .all( lower( startsWith( endsWith( contains( size( has( in ?"
).split()


@pytest.mark.parametrize("feature", [*FEATURES, "enabled: false", "type: object", "type: number"])
def test_every_feature_is_shown(feature: str) -> None:
    assert any(feature in path.read_text() for path in DOCUMENTS)


def test_the_keys_in_the_readme_are_those_in_the_files(server: Running) -> None:
    shown = set(re.findall(r"burgee_[a-z]+_\w+", README))
    stored = {each.sha256 for path in SAMPLES.glob("*/*.keys.yaml") for each in key_file.parse(path.read_bytes()).keys}
    assert {keys.digest_of(key).hex() for key in shown} == stored
    for key in shown:
        headers = {"Burgee-Environment": "production"} if "Both" in key else {}
        assert server.post(BULK, {"context": {"targetingKey": "u-1"}}, key=key, headers=headers).status == 200


def test_the_curl_lines_work(server: Running) -> None:
    lines = EXAMPLES.replace("\\\n", " ").replace("http://127.0.0.1:8080", server.data)
    lines = lines.replace("http://127.0.0.1:8081", server.management)
    commands = [line.strip() for line in lines.splitlines() if line.strip().startswith("curl ")]
    assert len(commands) == 4
    try:
        for command in commands:
            done = subprocess.run(f"{command} --fail", shell=True, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0 and done.stdout.startswith("{"), command
    except FileNotFoundError:
        pytest.skip("there is no shell")
