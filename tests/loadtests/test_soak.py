"""A short soak: right answers to a mixed load while documents and keys change, and nothing that is never given back."""

from __future__ import annotations

from loadtests.soak import Growth, Sample, growths, soak


def of_memory(*megabytes: int) -> list[Growth]:
    return [each for each in growths([[Sample("w", n << 20, 5, 2, 0)] for n in megabytes]) if each.what == "memory"]


def test_what_grows_is_seen() -> None:
    assert [each.flat for each in of_memory(10, 11, 20, 20, 21, 20)] == [True]
    assert [each.flat for each in of_memory(10, 11, 20, 22, 30, 32)] == [False]


def test_nothing_grows() -> None:
    found, measured = soak(9.0, "--workers", "2")
    assert [each for each in found if not each.flat and each.what != "memory"] == []  # memory settles in minutes
    assert all(not each.wrong and not each.failures for each in measured)
    assert {each.what for each in found} == {"memory", "descriptors", "threads", "series"}
