"""Servers with short deadlines, and descriptors enough for thousands of connections."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.running import SAMPLES, Running, running

HEAD_TIMEOUT, BODY_TIMEOUT, KEEPALIVE_TIMEOUT = 1.0, 1.0, 3.0  # seconds
DEADLINES = (
    *("--head-timeout", str(HEAD_TIMEOUT), "--body-timeout", str(BODY_TIMEOUT)),
    *("--keepalive-timeout", str(KEEPALIVE_TIMEOUT)),
    *("--tenant-bytes-in-flight", "0"),  # many slow bodies are meant here
)


@pytest.fixture(scope="session", autouse=True)
def enough_descriptors() -> None:
    """For the test; a server that it starts gets them too."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture(scope="session")
def own_samples(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A folder of the samples for each server, which keeps its state and its log beside it."""
    return lambda: Path(shutil.copytree(SAMPLES, tmp_path_factory.mktemp("live") / "tenants"))


@pytest.fixture(scope="session")
def impatient(own_samples: Callable[[], Path]) -> Iterator[Running]:
    with running(own_samples(), *DEADLINES) as started:
        yield started
