"""The OpenAPI document says what the server does: a validator reads it, and schemathesis asks what it says.

Longer with BURGEE_PROFILE=nightly.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from server.control.api.openapi import document
from server.control.app import ROUTES
from tests.server.control.running import Plane, running

NIGHTLY = os.environ.get("BURGEE_PROFILE") == "nightly"
EXAMPLES = 300 if NIGHTLY else 2  # of each route, good and bad ones each, besides those at the edges of the schemas
LONGEST = 3600 if NIGHTLY else 300  # seconds; a guard, not a measure


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """With one of everything."""
    with running(f"sqlite:///{tmp_path_factory.mktemp('record') / 'record.db'}") as started:
        started.ask("POST", "/tenants", {"name": "shop"})
        started.ask("POST", "/tenants/shop/projects", {"name": "web"})
        started.ask("POST", "/tenants/shop/projects/web/environments", {"name": "production"})
        yield started


def test_a_validator_takes_the_document(plane: Plane) -> None:
    served = plane.ask("GET", "/openapi.json", key="").json
    validate(served)
    operations = {each["operationId"] for path in served["paths"].values() for each in path.values()}
    assert operations == {each.name for each in ROUTES}


def test_every_reference_leads_somewhere() -> None:
    described = document(ROUTES)
    there = described["components"]["schemas"]
    references = list(_references(described))
    assert references and all(each.removeprefix("#/components/schemas/") in there for each in references)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


@pytest.mark.parametrize("known", [False, True], ids=["any names", "names that there are"])
def test_schemathesis_finds_nothing(plane: Plane, tmp_path: Path, known: bool) -> None:
    """No 5xx, no answer that the document does not describe, no bad request taken, no route open without a key."""
    config = tmp_path / "schemathesis.toml"
    selector = plane.ask("POST", "/tenants/shop/keys", {"kind": "edge"}).json["selector"]
    hook = {"url": "https://ci.example", "events": ["publish"]}
    id = plane.ask("POST", "/tenants/shop/webhooks", hook).json["id"]
    names = {"tenant": "shop", "project": "web", "environment": "production", "selector": selector, "id": id}
    lines = [f'"path.{name}" = "{value}"' for name, value in names.items()] if known else []
    config.write_text("\n".join(["[parameters]", *lines, ""]))
    phases = "fuzzing" if known else "coverage,fuzzing"
    bounds = [] if known or NIGHTLY else ["--max-time", "10"]
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    command += [
        f"http://127.0.0.1:{plane.port}/api/v1/openapi.json",
        "--header",
        f"Authorization: Bearer {plane.owner}",
    ]
    command += ["--no-color", "--seed", "7", "--phases", phases, "--max-examples", str(EXAMPLES), *bounds]
    # What fits the schema is refused all the same where it names what is not there.
    command += ["--exclude-checks", "positive_data_acceptance"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    if known or NIGHTLY:
        assert f"Tested: {len(ROUTES)}" in done.stdout, done.stdout[-2000:]
