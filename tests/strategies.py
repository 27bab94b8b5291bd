"""Hypothesis strategies over the generators of tests/documents.py and tests/contexts.py.

    @given(pairs())
    def test_it(pair): world, context, now = pair

Hypothesis hands the generators a Random of its own, and shrinks what they drew from it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.contexts import make_context, make_now
from tests.documents import World, make_world


@st.composite
def worlds(draw: st.DrawFn, flags: int = 3) -> World:
    return make_world(draw(st.randoms(use_true_random=False)), flags)


@st.composite
def pairs(draw: st.DrawFn, flags: int = 3) -> tuple[World, dict[str, Any], int]:
    """A document, a context and a time for it."""
    rng = draw(st.randoms(use_true_random=False))
    world = make_world(rng, flags)
    return world, make_context(world, rng), make_now(world, rng)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
