"""Keys compare as the values do; the oracle's readings say how these compare."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rules_compiler.codegen import keys
from tests import reference

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1)
names = st.sampled_from(["", "-0", "-1", "-10", "-9", "-alpha", "-alpha.1", "-alpha.1.0", "-alpha.beta", "-a-b.x--y"])
versions = st.builds(
    lambda prefix, parts, tail, build: f"{prefix}{'.'.join(map(str, parts))}{tail if len(parts) == 3 else ''}{build}",
    st.sampled_from(["", "v"]),
    st.lists(st.sampled_from([0, 1, 9, 10, 2**32 - 2]), min_size=1, max_size=3),
    names,
    st.sampled_from(["", "+5", "+a-b.7"]),
)


@given(numbers, numbers)
def test_numbers(a: float, b: float) -> None:
    left, right = keys.number(a), keys.number(b)
    assert (left < right, left == right) == (float(a) < float(b), float(a) == float(b))


@given(versions, versions)
def test_versions(a: str, b: str) -> None:
    left, right = reference.read_version(a), reference.read_version(b)
    assert left is not None and right is not None
    assert (keys.version(a) < keys.version(b), keys.version(a) == keys.version(b)) == (left < right, left == right)


def test_beyond_what_fits() -> None:
    assert keys.number(10**400) > keys.number(2**53)
    assert keys.moment(10**30) > keys.moment(10**18) > keys.moment(0) > keys.moment(-(10**30)) == keys.Point(0)


def test_networks() -> None:
    first, last = keys.network("2001:db8::/32")
    assert (first, last) == (0x20010DB8 << 96, (0x20010DB9 << 96) - 1)
    assert keys.merged(("::/0", "10.0.0.0/8")) == [(0, 2**128 - 1)]
    assert len(keys.merged(("10.0.0.0/32", "10.0.0.2/32", "10.0.0.1/32"))) == 1
    assert len(keys.merged(("10.0.0.0/32", "10.0.0.2/32"))) == 2
