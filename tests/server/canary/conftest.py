"""One server with two workers for the tests of this folder; each publishes on from what is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.canary.serving import Server, serving


@pytest.fixture(scope="package")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("canary")) as found:
        yield found


@pytest.fixture
def server(running_server: Server) -> Server:
    """With one version for all."""
    running_server.settle("one")
    return running_server
