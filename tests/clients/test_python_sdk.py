"""The OpenFeature Python SDK with its OFREP provider, against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.flags import CONTEXT, READS, Read
from tests.server.running import Running

api = pytest.importorskip("openfeature.api")
ofrep = pytest.importorskip("openfeature.contrib.provider.ofrep")
from openfeature.evaluation_context import EvaluationContext  # noqa: E402


@pytest.fixture(scope="module")
def client(served: tuple[Running, str]) -> Iterator[Any]:
    server, key = served
    api.set_provider(ofrep.OFREPProvider(server.data, headers_factory=lambda: {"Authorization": f"Bearer {key}"}))
    yield api.get_client()
    api.shutdown()


def context(**changes: Any) -> Any:
    attributes = {**CONTEXT, **changes}
    return EvaluationContext(attributes.pop("targetingKey"), attributes)


@pytest.mark.parametrize("read", READS, ids=lambda read: f"{read.flag}-{read.type}")
def test_each_type(client: Any, read: Read) -> None:
    kind = read.type.lower()
    if kind == "number":
        kind = "float" if isinstance(read.default, float) else "integer"
    details = getattr(client, f"get_{kind}_details")(read.flag, read.default, context())
    assert (details.value, details.variant, details.reason) == (read.value, read.variant, read.reason)
    assert details.error_code == read.error_code
    if read.error_code is None:
        assert details.flag_metadata["flagSetId"] == "acme/app/default"
        assert int(details.flag_metadata["version"]) > 0


def test_a_split_is_sticky_and_reaches_both_sides(client: Any) -> None:
    first = [client.get_string_value("split", "?", context(targetingKey=f"u-{n}")) for n in range(40)]
    assert first == [client.get_string_value("split", "?", context(targetingKey=f"u-{n}")) for n in range(40)]
    assert set(first) == {"a", "b"}


def test_a_split_needs_a_targeting_key(client: Any) -> None:
    details = client.get_string_details("split", "?", EvaluationContext(None, {}))
    assert (details.value, details.error_code) == ("?", "TARGETING_KEY_MISSING")


def test_a_wrong_key_gives_defaults(served: tuple[Running, str]) -> None:
    provider = ofrep.OFREPProvider(served[0].data, headers_factory=lambda: {"X-API-Key": "nonsense"})
    api.set_provider(provider, "stranger")
    details = api.get_client("stranger").get_boolean_details("boolean", False, context())
    assert (details.value, details.error_code, details.error_message) == (False, "GENERAL", "unauthorized")
