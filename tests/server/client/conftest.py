"""One control plane for all tests of this folder, and a folder of documents of a tenant that is each test's own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.client.planes import Plane, plane

DOCUMENT = """
environments: [staging, production]
segments:
  staff: {when: 'email.endsWith("@example.com")'}
flags:
  # A comment that only the file has.
  checkout:
    type: string
    variants: {old: classic, new: one-page}
    rules: [{when: 'segment("staff")', serve: new}]
    fallthrough: old
    offVariant: old
    environments: {staging: {fallthrough: new}}
  banner:
    type: boolean
    variants: {"on": true, "off": false}
    fallthrough: "on"
    offVariant: "off"
"""


@pytest.fixture(scope="session")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with plane(tmp_path_factory.mktemp("control")) as started:
        yield started


@pytest.fixture
def tenant() -> str:
    return f"t-{secrets.token_hex(4)}"


@pytest.fixture
def flags(tmp_path: Path, tenant: str) -> Path:
    """A folder with one project, `web`, of the tenant."""
    folder = tmp_path / "flags"
    (folder / tenant).mkdir(parents=True)
    (folder / tenant / "web.yaml").write_text(DOCUMENT)
    return folder


@pytest.fixture
def imported(control: Plane, flags: Path) -> Path:
    result = control.burgee("import", flags)
    assert result.exit_code == 0, result.output
    return flags
