"""A real server with a flag of every type, and the clients for Node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.flags import DOCUMENT
from tests.clients.node_modules import install_into
from tests.server.conftest import add_key
from tests.server.running import Running, running


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, str]]:
    """The server and a key of it."""
    tenants = tmp_path_factory.mktemp("clients") / "tenants"
    (tenants / "acme").mkdir(parents=True)
    (tenants / "acme" / "app.yaml").write_text(DOCUMENT)
    key = add_key(tenants)
    with running(tenants) as server:
        yield server, key


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_into(tmp_path_factory.mktemp("javascript"))
