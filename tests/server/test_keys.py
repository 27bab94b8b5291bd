"""Keys: their form, their checksum, their randomness."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import keys
from server.types import KeyKind

KEY = keys.assemble(KeyKind.SERVER, "A" * 16, "b" * 43)


@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_new_key_names_its_kind_and_its_selector(kind: KeyKind) -> None:
    key = keys.new_key(kind)
    assert key.startswith(f"burgee_{kind}_")
    assert keys.selector_of(key) == key.split("_")[2]
    assert len(keys.digest_of(key)) == 32


def test_new_keys_differ_in_every_part() -> None:
    made = [keys.new_key(KeyKind.SERVER) for _ in range(100)]
    assert len({key.split("_")[2] for key in made}) == 100
    assert len({key.split("_")[3] for key in made}) == 100


def test_the_form_is_pinned() -> None:
    assert KEY.startswith("burgee_server_AAAAAAAAAAAAAAAA_" + "b" * 43)
    assert len(KEY) == keys.LONGEST
    assert keys.selector_of(KEY) == "A" * 16
    assert keys._checksum("burgee") == keys._checksum("burgee") != keys._checksum("burgeE")


@given(st.integers(0, len(KEY) - 1), st.sampled_from(keys.ALPHABET + "_- \n\u00e9"))
def test_a_key_with_one_character_changed_is_refused(at: int, character: str) -> None:
    changed = KEY[:at] + character + KEY[at + 1 :]
    assert changed == KEY or keys.selector_of(changed) is None


@given(st.text())
def test_other_text_is_refused(text: str) -> None:
    assert keys.selector_of(text) is None
    assert keys.selector_of(KEY + text) is None or not text
    assert keys.selector_of(text + KEY) is None or not text
