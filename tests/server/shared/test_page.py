"""The shared memory: what one process counts, another reads; a limit is one for all of them."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from server.shared.page import BOUNDS, Page


def in_a_child(work: Callable[[], None]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_counts_of_a_child_are_seen_and_outlive_it() -> None:
    page = Page(2)

    def work() -> None:
        block = page.block(1)
        block.begin()
        block.pid, block.position, block.mapped, block.connections = os.getpid(), 7, 3, 4
        block.count("evaluate", 200, more=5)
        block.count("ofrep_flag", 418)
        block.observe("evaluate", 0.0003)
        block.observe("evaluate", 1e9)
        block.refuse_key("unknown")
        block.shed("evaluate")
        block.hold(page.cell("acme"), bytes=10, streams=2)

    in_a_child(work)
    block = page.block(1)
    assert block.requests() == {("evaluate", 200): 5, ("ofrep_flag", 0): 1}
    counts, seconds = block.durations()["evaluate"]
    assert [n for n, count in enumerate(counts) if count] == [BOUNDS.index(0.0005), len(BOUNDS)] and seconds > 1e8
    assert (block.refused_keys(), block.limited(), block.sheds()) == ({"unknown": 1}, {}, {"evaluate": 1})
    assert (page.bytes_of(page.cell("acme")), page.streams_of(page.cell("acme")), block.streams) == (10, 2, 2)
    assert page.block(0).requests() == {}
    block.end()  # as the supervisor does when the process is gone
    assert (block.pid, block.position, block.mapped, block.connections, block.streams) == (0, 0, 0, 0, 0)
    assert (page.bytes_of(page.cell("acme")), page.streams_of(page.cell("acme"))) == (0, 0)
    assert block.requests() == {("evaluate", 200): 5, ("ofrep_flag", 0): 1}


def test_a_name_has_the_same_cell_in_every_process() -> None:
    page = Page(1)
    cells = {name: page.cell(name).index for name in (f"tenant-{n}" for n in range(5000))}
    assert len(set(cells.values())) == len(cells) and 0 not in cells.values()

    def work() -> None:
        assert all(page.cell(name).index == index for name, index in cells.items())
        page.cell("tenant-9").behind_since = 12.5

    in_a_child(work)
    assert page.cell("tenant-9").behind_since == 12.5


def test_a_full_table_still_gives_a_cell() -> None:
    page = Page(1)
    indexes = [page.cell(str(n)).index for n in range(300_000)]
    assert indexes[-1] == page.cell("299999").index
    assert indexes.count(0) > 0  # those that others have too
    assert len(set(indexes)) > 250_000


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError):
        Page(0)
    with pytest.raises(IndexError):
        Page(1).block(1)
    with pytest.raises(KeyError):
        Page(1).block(0).count("nothing", 200)
