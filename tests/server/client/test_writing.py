"""Documents as YAML: what is written is read as the same, by our reader and by others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from server.client.folder import document_of
from server.client.writing import definition_text, document_json, document_text, same_document
from tests.server.running import SAMPLES

ODD = [
    "on",
    "No",
    "~",
    "null",
    "1e3",
    "12e3",
    "0x1F",
    "0o17",
    "1_000",
    ".5",
    "1:30",
    "2026-01-01",
    "<<",
    "=",
    "- a",
    "a: b",
]

texts = st.text(max_size=20) | st.sampled_from(ODD)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
flags = st.fixed_dictionaries(
    {"type": st.just("object"), "variants": st.dictionaries(texts, values, max_size=3), "description": texts}
)


@given(st.dictionaries(texts, flags, max_size=3))
def test_what_is_written_is_read_as_the_same(written: dict[str, Any]) -> None:
    document = {"environments": ["default"], "flags": written}
    assert same_document(document_text(document), document_json(document))


@given(st.lists(st.sampled_from(ODD), min_size=1, unique=True))
def test_other_readers_of_yaml_see_text_too(keys: list[str]) -> None:
    """Those of YAML 1.1, as PyYAML, take more for booleans and numbers than ours."""
    written = definition_text({"type": "string", "variants": {key: key for key in keys}})
    assert yaml.safe_load(written)["variants"] == {key: key for key in keys}


PATHS = sorted(each for each in SAMPLES.glob("*/*.yaml") if not each.name.endswith(".keys.yaml"))


@pytest.mark.parametrize("path", PATHS)
def test_samples(path: Path) -> None:
    document = document_of(path.read_bytes()).as_json()
    text = document_text(document)
    assert same_document(path.read_bytes(), text) and not text.startswith(b"{")
    assert "'on'" not in text.decode().partition("variants")[0]


def test_members_come_in_the_order_of_the_documentation() -> None:
    flag = {"variants": {"b": 1, "a": 2}, "environments": {"e": {"rules": [], "enabled": False}}, "type": "integer"}
    assert definition_text(flag) == (
        "type: integer\nvariants:\n  b: 1\n  a: 2\nenvironments:\n  e:\n    enabled: false\n    rules: []\n"
    )
