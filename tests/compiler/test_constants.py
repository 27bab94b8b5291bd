"""Constants of conditions, against their grammars in docs/semantics.md and the reference libraries."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules_compiler.dialects.burgee.constants import (
    address_network,
    duration_microseconds,
    network,
    timestamp_microseconds,
    version_order,
    version_text,
)

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1", "1.0.0"),
        ("v2.3", "2.3.0"),
        ("1.2.3-a.1+b.2", "1.2.3-a.1"),
        ("1.2+b", "1.2.0"),
        ("4294967294.0.0", "4294967294.0.0"),
        ("1.2.3-0a.-", "1.2.3-0a.-"),
        ("4294967295", None),
        ("9" * 5000, None),
        ("1.2-rc", None),
        ("01.2", None),
        ("1.2.3-01", None),
        ("1.2.3-", None),
        ("1.2.3+", None),
        ("1.2.3.4", None),
        ("V1", None),
        (" 1", None),
        ("1.²", None),
        ("", None),
    ],
)
def test_versions(text: str, version: str | None) -> None:
    if version is None:
        with pytest.raises(ValueError, match="semver"):
            version_text(text)
    else:
        assert version_text(text) == version


def test_versions_are_ordered_as_semver_section_11() -> None:
    written = (
        "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 "
        "1.0.0 1.0.1 1.10.0 2.0.0"
    ).split()
    backwards = written[::-1]
    assert sorted(backwards, key=version_order) == written
    long = "1.0.0-" + "9" * 5000
    assert version_order("1.0.0-10") < version_order(long) < version_order("1.0.0-a")


@given(
    st.datetimes(
        timezones=st.sampled_from([datetime.UTC, datetime.timezone(datetime.timedelta(hours=-9, minutes=-30))])
    )
)
def test_timestamps(time: datetime.datetime) -> None:
    assert timestamp_microseconds(time.isoformat()) == (time - EPOCH) // datetime.timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01T00:00:00z", 0),
        ("1970-01-01t00:00:00.1Z", 100_000),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000_000),
        ("9999-12-31T23:59:59-23:59", 253_402_387_139_000_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
        ("2023-02-29T00:00:00Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("2016-12-31T23:59:60Z", None),
        ("2026-01-01T24:00:00Z", None),
        ("2026-01-01T00:00:00+24:00", None),
        ("2026-01-01T00:00:00", None),
        ("2026-01-01 00:00:00Z", None),
        ("2026-01-01", None),
        ("2026-01-01T00:00:00.Z", None),
        ("２026-01-01T00:00:00Z", None),
    ],
)
def test_timestamps_at_the_edges(text: str, microseconds: int | None) -> None:
    if microseconds is None:
        with pytest.raises(ValueError, match="timestamp"):
            timestamp_microseconds(text)
    else:
        assert timestamp_microseconds(text) == microseconds


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("72h30m", 261_000_000_000),
        ("-1.5h", -5_400_000_000),
        ("+1s", 1_000_000),
        ("1h1m1s1ms1us1000ns", 3_661_001_002),
        ("1µs", 1),
        ("0s", 0),
        ("87660000h", 315_576_000_000_000_000),
        ("87660001h", None),
        ("1ns", None),
        ("1d", None),
        ("1", None),
        ("", None),
        ("h", None),
        ("1 h", None),
        ("1s" * 100, None),
    ],
)
def test_durations(text: str, microseconds: int | None) -> None:
    if microseconds is None:
        with pytest.raises(ValueError, match="duration"):
            duration_microseconds(text)
    else:
        assert duration_microseconds(text) == microseconds


@given(st.ip_addresses())
def test_addresses(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    found = ipaddress.ip_network(address_network(str(address)))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    assert found.network_address == (mapped or address) and found.num_addresses == 1


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::/0", "::/0"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:0:0/95", None),
        ("10.1.0.0/8", None),
        ("10.0.0.0", None),
        ("10.0.0.0/", None),
        ("10.0.0.0/33", None),
        ("10.0.0.0/08", None),
        ("10.0.0.0/255.0.0.0", None),
        ("010.0.0.0/8", None),
        ("fe80::%1/64", None),
        ("x/8", None),
    ],
)
def test_networks(text: str, written: str | None) -> None:
    if written is None:
        with pytest.raises(ValueError, match="cidr"):
            network(text)
    else:
        assert network(text) == written


def test_the_hint_has_the_right_network() -> None:
    with pytest.raises(ValueError) as error:
        network("10.1.2.3/12")
    assert error.value.args[1] == "the network is 10.0.0.0/12"


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1.2.3.4.5", "1.2.3.04", "1.2.3.256", "fe80::1%eth0", "1:2", "::1/128", "١.2.3.4"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="ip"):
        address_network(text)
