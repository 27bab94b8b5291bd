"""How long the generators run: `ci` by default, `nightly` with `make nightly`. No example is gated on time."""

import pytest
from hypothesis import HealthCheck, settings

from tests.services import (  # noqa: F401  fixtures of all tests
    database_url,
    own_postgres,
    own_redis,
    postgres_server,
    postgres_url,
    redis_server,
    redis_url,
)

SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("ci", deadline=None, suppress_health_check=SLOW_IS_FINE)
settings.register_profile("nightly", deadline=None, suppress_health_check=SLOW_IS_FINE, max_examples=10_000)
settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what the passes give into the golden files")
