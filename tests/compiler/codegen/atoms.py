"""Random atoms that tables and breakpoints decide, and values that fall on all sides of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from rules_compiler import ir

NUMBERS = (-(2**53) + 1, -1.5, -1, 0, 0.1, 0.5, 1, 2, 18, 2**53 - 1, 1e300)
TEXTS = ("", "DE", "FR", "de", "Grün", "a\0b", "2.0", "\U0001f600")
VERSIONS = ("0", "1.2", "1.2.3-alpha", "1.2.3-alpha.1", "1.2.3-alpha.beta", "1.2.3-2", "1.2.3-11", "1.2.3", "v2.0.0")
TIMES = ("1970-01-01T00:00:00Z", "2026-01-01T00:00:00.000001+01:00", "9999-12-31T23:59:59Z")
MOMENTS = (-(10**17), -1, 0, 1, 1_767_222_000_000_001, 253402300799000000, 10**20)
NETWORKS = ("10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9", "10.1.2.3/32", "::/0", "2001:db8::/32", "ffff::/16")
ADDRESSES = ("9.255.255.255", "10.0.0.0", "10.1.2.3", "10.255.255.255", "11.0.0.0", "::", "2001:db8::1", "ffff::1")
IDS = {"beta": ("17", "DE", "u-1"), "staff": ("FR", "u-1", "u-2"), "none": ()}

ORDERS = st.sampled_from(["<", "<=", ">", ">="])
EXACT_ORDERS = st.sampled_from(["<", "<=", ">", ">=", "=="])


def operand(via: ir.Via = ir.Via.VALUE) -> ir.Operand:
    return ir.Operand(() if via is ir.Via.NOW else ("x",), via)


def some(*values: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=4, unique=True).map(lambda v: tuple(sorted(v)))


def compares(via: ir.Via, orders: st.SearchStrategy[Any], *values: Any) -> st.SearchStrategy[ir.Compare]:
    return st.builds(ir.Compare, st.just(operand(via)), orders, st.sampled_from(values))


atoms: st.SearchStrategy[ir.Atom] = st.one_of(
    st.just(ir.Has(operand())),
    st.builds(ir.In, st.just(operand()), some(*TEXTS)),
    st.builds(ir.In, st.just(operand()), some(*NUMBERS)),
    st.builds(ir.In, st.just(operand()), some(False, True)),
    st.builds(ir.In, st.just(operand(ir.Via.LOWER)), some("de", "fr", "grün", "DE")),
    st.builds(ir.InIds, st.just(operand()), st.sampled_from(sorted(IDS))),
    st.builds(ir.InNetworks, st.just(operand(ir.Via.IP)), some(*NETWORKS)),
    compares(ir.Via.VALUE, ORDERS, *NUMBERS),
    compares(ir.Via.SIZE, EXACT_ORDERS, -1, 0, 1, 2, 2**53 - 1),
    compares(ir.Via.SEMVER, EXACT_ORDERS, *VERSIONS),
    compares(ir.Via.TIMESTAMP, EXACT_ORDERS, *MOMENTS),
    compares(ir.Via.NOW, EXACT_ORDERS, 0, 1_767_222_000_000_000, 1_767_222_000_000_001),
)

values: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [None, False, True, 2**53, float("nan"), "\ud800", [], ["a"], {}, {"a": None, "b": 1}, -0.0, 17, 1.5]
    ),
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from(VERSIONS),
    st.sampled_from(TIMES),
    st.sampled_from(ADDRESSES),
    st.sampled_from([text for texts in IDS.values() for text in texts]),
    st.floats(),
    st.integers(-100, 100),
)
nows = st.sampled_from([-1, 0, 1, 1_767_222_000_000, 1_767_222_000_001])
