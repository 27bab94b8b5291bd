"""From records to the position: what a disk refuses is kept and tried again, and workers never see half of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from server.shared.page import Page
from server.state import publisher as module
from server.state.journal import Journal, Reader
from server.state.publisher import Publisher
from server.state.records import KeyGrant, ProjectRecord
from server.state.snapshots import SnapshotFiles
from server.types import KeyKind


def record(number: int, version: int, keys: int = 1) -> ProjectRecord:
    grants = tuple(KeyGrant(os.urandom(32), "s", KeyKind.SERVER, ("a",)) for _ in range(keys))
    return ProjectRecord("acme", f"p{number}", keys=grants, version=version)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


Work = Callable[[Publisher, Page], Coroutine[None, None, None]]


async def published(folder: Path, work: Work, *, rings: list[int] | None = None) -> tuple[Page, Journal]:
    """Runs `work(publisher)` beside a publisher."""
    page, journal = Page(1), Journal(folder)
    publisher = Publisher(journal, SnapshotFiles(folder), page, lambda: rings.append(1) if rings is not None else None)
    running = asyncio.create_task(publisher.run())
    await asyncio.sleep(0)
    try:
        await asyncio.wait_for(work(publisher, page), 60)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    return page, journal


def test_all_that_waits_is_committed_at_once_and_the_latest_counts(tmp_path: Path) -> None:
    async def work(publisher: Publisher, page: Page) -> None:
        for version in (1, 2):
            for number in range(1000):
                publisher.publish(record(number, version))
        await publisher.committed()
        assert len(Reader(tmp_path).read_to(page.position)) == 1000

    rings: list[int] = []
    _, journal = asyncio.run(published(tmp_path, work, rings=rings))
    assert {each.version for each in journal.records.values()} == {2}
    assert len(rings) == 2  # at the start, and for all of them


def test_a_full_disk_delays_and_loses_nothing(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    ballast = small_disk / "ballast"

    async def work(publisher: Publisher, page: Page) -> None:
        publisher.publish(record(1, 1))
        await publisher.committed()
        before = page.position
        with suppress(OSError):
            ballast.write_bytes(bytes(1 << 20))
        publisher.publish(record(2, 1, keys=300))  # more than is left of any block
        while publisher.problem is None:
            await asyncio.sleep(0.01)
        assert "cannot be written: No space left" in publisher.problem.message
        assert page.position == before and Journal(small_disk, before).damage == ""
        assert len(Reader(small_disk).read_to(page.position)) == 1
        ballast.unlink()
        await publisher.committed()
        assert publisher.problem is None

    page, journal = asyncio.run(published(small_disk, work))
    assert len(Reader(small_disk).read_to(page.position)) == len(journal.records) == 2


def test_a_folder_that_becomes_read_only(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)

    def remount(mode: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{mode}", small_disk], check=True)

    async def work(publisher: Publisher, page: Page) -> None:
        publisher.publish(record(1, 1))
        await publisher.committed()
        remount("ro")
        assert Journal(small_disk).records  # it opens
        publisher.publish(record(1, 2))
        while publisher.problem is None:
            await asyncio.sleep(0.01)
        assert "Read-only" in publisher.problem.message
        assert [each.version for each in Reader(small_disk).read_to(page.position)] == [1]
        remount("rw")
        await publisher.committed()

    page, _ = asyncio.run(published(small_disk, work))
    assert [each.version for each in Reader(small_disk).read_to(page.position)] == [1, 2]


def test_a_disk_too_full_to_compact_does_not_repeat_what_is_written(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.state.journal.COMPACT_BYTES", 15_000)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)

    async def work(publisher: Publisher, page: Page) -> None:
        for version in range(1, 6):
            publisher.publish(record(1, version, keys=100))
            await publisher.committed()
        assert publisher.problem is None

    (small_disk / "ballast").write_bytes(bytes(36 << 10))
    page, journal = asyncio.run(published(small_disk, work))
    assert journal.records[record(1, 0).id].version == 5
    assert (small_disk / "journal.1").exists()  # it could not be written anew
    assert [each.version for each in Reader(small_disk).read_to(page.position)] == [1, 2, 3, 4, 5]


def test_a_suspected_journal_is_written_anew_only_when_it_is_damaged(tmp_path: Path) -> None:
    async def work(publisher: Publisher, page: Page) -> None:
        publisher.publish(record(1, 1))
        await publisher.committed()
        before = page.position
        publisher.suspect_journal()
        await asyncio.sleep(0.2)
        assert page.position == before
        path = tmp_path / "journal.1"
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        publisher.suspect_journal()
        while page.position == before:
            await asyncio.sleep(0.01)
        assert len(Reader(tmp_path).read_to(page.position)) == 1

    asyncio.run(published(tmp_path, work))
