"""Servers with short deadlines, and descriptors enough for thousands of connections."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.running import Running, running

HEAD_TIMEOUT, BODY_TIMEOUT, KEEPALIVE_TIMEOUT = 1.0, 1.0, 3.0  # seconds
DEADLINES = (
    *("--head-timeout", str(HEAD_TIMEOUT), "--body-timeout", str(BODY_TIMEOUT)),
    *("--keepalive-timeout", str(KEEPALIVE_TIMEOUT)),
)


@pytest.fixture(scope="session", autouse=True)
def enough_descriptors() -> None:
    """For the test; a server that it starts gets them too."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture(scope="session")
def impatient(samples: Path) -> Iterator[Running]:
    with running(samples, *DEADLINES) as started:
        yield started
