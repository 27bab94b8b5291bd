"""A short soak: right answers to a mixed load while documents and keys change, and nothing that is never given back."""

from __future__ import annotations

from loadtests.soak import Sample, growths, soak


def is_flat(what: str, *values: int) -> bool:
    [found] = growths([[Sample("w", {what: each})] for each in values])
    return found.flat


def test_what_grows_is_seen() -> None:
    assert is_flat("memory", *(n << 20 for n in (10, 11, 20, 20, 21, 20)))
    assert not is_flat("memory", *(n << 20 for n in (10, 11, 20, 22, 30, 32)))
    assert is_flat("descriptors", 50, 60, 200, 210, 205, 215)
    assert not is_flat("descriptors", 50, 60, 200, 210, 235, 240)
    assert is_flat("series", 300, 400, 412, 412, 412, 412)
    assert not is_flat("series", 300, 400, 412, 412, 413, 413)


def test_nothing_grows() -> None:
    # Nothing is shed: on a busy machine that would be right, and no answer that is expected here.
    found, measured = soak(9.0, "--workers", "2", "--shed-after", "0")
    assert [each for each in found if not each.flat and each.what != "memory"] == []  # memory settles in minutes
    assert all(not each.wrong and not each.failures for each in measured)
    assert {each.what for each in found} == {"memory", "descriptors", "threads", "series"}
    judged = {each.name for each in found if each.what == "memory"}
    assert {"burgee-agent 1", "burgee-compiler 1", "burgee-worker 1", "burgee-worker 2"} <= judged
