"""Key files: what is written is read back, and what is wrong is named by its place, never by its value."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import keys
from server.sources import key_file
from server.sources.key_file import KeyFile, KeyFileError, KeyRecord
from server.types import KeyKind, ProjectId

PROJECT = ProjectId("acme", "app")
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
RECORDS = st.builds(
    KeyRecord,
    selector=st.text(keys.ALPHABET, min_size=16, max_size=16),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    kind=st.sampled_from(KeyKind),
    environments=st.lists(st.sampled_from(["on", "1.0", "null", "production", "2026-01-01"]), min_size=1).map(tuple),
    name=st.text(max_size=20),
    created=MOMENTS,
    expires=st.none() | MOMENTS,
    revoked=st.none() | MOMENTS,
)

ONE = """
keys:
  - selector: AAAAAAAAAAAAAAAA
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    kind: server
    environments: [on, 2026-01-01]
    created: 2026-11-22T14:00:00Z
"""


@given(st.lists(RECORDS, max_size=4, unique_by=lambda each: each.selector))
def test_what_is_written_is_read_back(records: list[KeyRecord]) -> None:
    assert key_file.parse(key_file.render(KeyFile(tuple(records)))).keys == tuple(records)


def test_names_stay_text() -> None:
    [record] = key_file.parse(ONE.encode()).keys
    assert record.environments == ("on", "2026-01-01")
    assert record.created == datetime(2026, 11, 22, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file: expected `object`"),
        ("keys: [", "line 1: not YAML"),
        ("keys: [{}]", "keys[0]: object missing required field `selector`"),
        (ONE.replace("kind: server", "kind: hunter2"), "keys[0].kind: not one of"),
        (ONE.replace("kind: server", "hunter2: server"), "keys[0]: unknown member"),
        (ONE.replace("AAAAAAAAAAAAAAAA", "hunter2"), "keys[0].selector: expected `str` matching"),
        (ONE.replace("14:00:00Z", "14:00:00"), "keys[0].created: expected `datetime` with a timezone"),
        (ONE.replace("[on, 2026-01-01]", "[]"), "keys[0].environments: expected `array` of length >= 1"),
        (ONE + ONE.removeprefix("\nkeys:\n"), "keys[1].selector: another key has it too"),
        ("a: &a [*a]", "not YAML"),
        ("&a [&b [*a]]", "not YAML"),
        ("- " * 5000 + "x", "not YAML"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(text: str, message: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        key_file.parse(text.encode())
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(KeyFileError):
        key_file.parse(b"keys: [\xff]")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_key_file_or_refused(content: bytes) -> None:
    with suppress(KeyFileError):
        assert isinstance(key_file.parse(content), KeyFile)


def test_revoked_keys_open_nothing() -> None:
    live, dead = key_file.parse(ONE.encode()).keys[0], key_file.parse(ONE.replace("A" * 16, "B" * 16).encode()).keys[0]
    dead = KeyRecord(**{**{f: getattr(dead, f) for f in dead.__struct_fields__}, "revoked": key_file.now()})
    [grant] = key_file.grants(KeyFile((live, dead)))
    assert grant.selector == "A" * 16
    assert grant.environments == ("on", "2026-01-01")
    assert (live.state(key_file.now()), dead.state(key_file.now())) == ("active", "revoked")
