"""What may replace what: a replica with a real store, journal and files, offered what is good and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from engine import Snapshot
from server.metrics import AgentMetrics
from server.shared.page import Page
from server.state.journal import Journal
from server.state.origin import NOTHING, note_source, noted_source
from server.state.publisher import Publisher
from server.state.records import KeyGrant, ProjectRecord, Published
from server.state.snapshots import SnapshotFiles
from server.state.store import Store
from server.sync.replica import FetchError, Replica
from server.types import EnvironmentId, KeyKind, ProjectId, SourceState
from tests.server.state.publishing import grant, snapshot

APP = ProjectId("acme", "app")


@dataclass
class World:
    state: Path
    page: Page = field(default_factory=lambda: Page(2))
    blobs: dict[str, bytes] = field(default_factory=dict)  # digest -> what a fetch gives
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loop = asyncio.Runner()
        if noted_source(self.state) == NOTHING:
            note_source(self.state, NOTHING)  # as the agent does before it opens the journal
        journal = Journal(self.state)
        self.files = SnapshotFiles(self.state)
        self.publisher = Publisher(journal, self.files, self.page, lambda: None)
        self.store = Store(self.page, self.publisher.publish, journal.records.values())
        self.metrics = AgentMetrics(self.store, self.page)
        self.replica = Replica(self.store, self.files, self.publisher.committed, self.metrics, self.state)

    def published(self, word: str, version: int, name: str = "default") -> Published:
        blob = snapshot(word)
        read = Snapshot.from_bytes(blob)
        self.blobs[read.digest] = blob
        return Published(name, version, read.digest, read.size, len(read), 1.0)

    def record(self, number: int, *words: str, keys: tuple[KeyGrant, ...] = ()) -> ProjectRecord:
        environments = tuple(self.published(word, number, f"e{place}") for place, word in enumerate(words))
        return ProjectRecord(*APP, environments, keys, version=number)

    async def fetch(self, published: Published) -> bytes:
        self.fetched.append(published.digest)
        try:
            return self.blobs[published.digest]
        except KeyError:
            raise FetchError("it is not there") from None

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        async def within() -> None:
            running = asyncio.create_task(self.publisher.run())
            try:
                await asyncio.wait_for(work(), 60)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        self.loop.run(within())

    def offer(self, *records: ProjectRecord) -> list[bool]:
        done: list[bool] = []

        async def work() -> None:
            for each in records:
                done.append(await self.replica.offer(each, self.fetch))

        self.run(work)
        return done

    def refused(self, reason: str) -> float:
        name, labels = "burgee_sync_refused_total", {"reason": reason}
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def on_disk(self) -> ProjectRecord | None:
        return Journal(self.state).records.get(APP)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.loop.close()


def test_only_higher_numbers_replace(world: World) -> None:
    first, second, third = world.record(1, "a"), world.record(2, "b"), world.record(3, "c")
    assert world.offer(second, first, second, third) == [True, False, False, True]
    assert world.refused("backwards") == 1
    assert world.replica.number_of(APP) == 3
    assert world.on_disk() == third


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda blob: blob[:-1], "digest"),  # truncated
        (lambda blob: blob[:200] + bytes([blob[200] ^ 1]) + blob[201:], "verify"),  # flipped
        (lambda blob: blob[: len(blob) // 2] + bytes(len(blob) - len(blob) // 2), "verify"),  # torn
        (lambda blob: b"", "digest"),
        (lambda blob: snapshot("x"), "digest"),  # good, of the same size, and another one
    ],
)
def test_what_is_not_the_snapshot_of_the_record_is_not_installed(
    world: World, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    assert world.offer(world.record(1, "a", "b")) == [True]
    record = world.record(2, "c", "d")
    good, digest = dict(world.blobs), record.environments[1].digest
    world.blobs[digest] = spoil(good[digest])
    assert world.offer(record) == [False]
    assert world.refused(reason) == 1
    assert world.replica.number_of(APP) == 1 and world.on_disk() != record
    assert world.replica.is_refused(APP, 2)
    count = len(world.fetched)
    assert world.offer(record) == [False] and len(world.fetched) == count  # not again at once
    world.blobs.update(good)
    assert world.offer(msgspec.structs.replace(record, version=3)) == [True]  # another number is another try


def test_nothing_is_installed_before_everything_is_there(world: World) -> None:
    record = world.record(1, "a", "b")
    del world.blobs[record.environments[1].digest]
    assert world.offer(record) == [False]
    assert world.on_disk() is None and world.replica.number_of(APP) == 0


def test_what_is_on_disk_is_not_fetched(world: World) -> None:
    first = world.record(1, "a", "b")
    assert world.offer(first) == [True]
    count = len(world.fetched)
    more = msgspec.structs.replace(first, version=2, keys=(grant("k", "e0"),))
    changed = msgspec.structs.replace(
        first, version=3, environments=(first.environments[0], world.published("c", 3, "e1"))
    )
    assert world.offer(more) == [True] and len(world.fetched) == count
    assert world.offer(changed) == [True] and len(world.fetched) == count + 1


def test_only_a_record_deletes(world: World) -> None:
    assert world.offer(world.record(5, "a", keys=(grant("k", "e0"),))) == [True]

    async def compare() -> None:
        for listing in ({}, {APP: 1}, {ProjectId("other", "app"): 9}):
            world.replica.compare("upstream", listing)

    world.run(compare)
    assert world.store.projects.keys() == {APP} and world.store.key_count == 1
    assert world.store.age_of(APP) > 0 and world.store.projects[APP].behind_since is not None
    assert world.offer(ProjectRecord(*APP, version=6)) == [True]
    assert not world.store.projects and world.store.key_count == 0
    assert world.offer(world.record(5, "a")) == [False]  # nor does an old one bring it back


@pytest.mark.parametrize(
    "record",
    [
        ProjectRecord("..", "app", version=1),
        ProjectRecord("acme", "a/b", version=1),
        ProjectRecord("acme", "app", version=0),
        ProjectRecord("acme", "app", version=1 << 63),
        ProjectRecord("acme", "app", (Published("e", 1, "0" * 64, 1 << 40, 1, 1.0),), version=1),
        ProjectRecord("acme", "app", (Published("../e", 1, "0" * 64, 1, 1, 1.0),), version=1),
        ProjectRecord("acme", "app", (Published("e", 1, "../../etc", 1, 1, 1.0),), version=1),
        ProjectRecord("acme", "app", keys=(KeyGrant(b"short", "s", KeyKind.SERVER, ("e",)),), version=1),
        ProjectRecord("acme", "app", keys=(KeyGrant(bytes(32), "s", KeyKind.ADMIN, ("e",)),), version=1),
    ],
)
def test_a_record_that_is_none_is_refused(world: World, record: ProjectRecord) -> None:
    assert world.offer(record) == [False]
    assert world.refused("unreadable") == 1 and not world.fetched


def test_a_disk_that_cannot_be_written_costs_time_only(world: World) -> None:
    (world.state / "snapshots").write_text("in the way")
    record = world.record(1, "a")
    assert world.offer(record) == [False]
    assert world.refused("disk") == 1 and world.on_disk() is None
    (world.state / "snapshots").unlink()

    async def later() -> None:
        while not await world.replica.offer(record, world.fetch):
            await asyncio.sleep(0.1)

    world.run(later)
    assert world.on_disk() == record


def test_the_numbers_of_two_records_are_not_compared(world: World) -> None:
    assert world.replica.accepts("01" * 8) and world.replica.accepts("01" * 8)
    assert not world.replica.accepts("02" * 8) and not world.replica.accepts("")
    assert World(world.state).replica.accepts("01" * 8)  # it is noted


def test_a_damaged_file_is_fetched_with_the_same_number(world: World) -> None:
    record = world.record(1, "a")
    assert world.offer(record) == [True]
    path = world.files.path_of(EnvironmentId(*APP, "e0"), 1)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    world.run(lambda: world.replica.suspect(EnvironmentId(*APP, "e0")))
    assert world.replica.wants(APP, 1)
    assert world.offer(record) == [True] and path.read_bytes() == content
    assert not world.replica.wants(APP, 1)


def test_a_false_number_is_forgotten_with_the_listing_that_had_it(world: World) -> None:
    assert world.offer(world.record(1, "a")) == [True]
    world.replica.wants(APP, 1 << 40, "redis")  # a hint alone says nothing
    assert world.replica.compare("upstream", {APP: 1}) == []
    assert world.store.projects[APP].behind_since is None
    world.replica.compare("redis", {APP: 1 << 40})
    assert world.store.projects[APP].behind_since is not None
    world.replica.compare("redis", {APP: 1})
    assert world.store.projects[APP].behind_since is None


def test_what_was_never_here_and_is_listed_no_more_is_forgotten(world: World) -> None:
    record = world.record(1, "a")
    world.blobs.clear()
    world.replica.compare("upstream", {APP: 1})
    assert world.offer(record) == [False]
    assert world.store.projects[APP].state is SourceState.BROKEN
    world.replica.compare("upstream", {})
    assert APP not in world.store.projects


def test_only_ids_of_records_and_folder_become_the_origin(world: World) -> None:
    for each in ("", "<html>", "ab" * 16 + "\n", "nothing"):
        assert not world.replica.accepts(each) or each == NOTHING
    assert noted_source(world.state) == NOTHING
    assert world.replica.accepts("ab" * 16) and not world.replica.accepts("folder")


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -1.0, 1e300])
def test_times_are_times(world: World, moment: float) -> None:
    published = msgspec.structs.replace(world.published("a", 1), installed_at=moment)
    assert world.offer(ProjectRecord(*APP, (published,), version=1)) == [False]
    key = msgspec.structs.replace(grant("k", "e0"), expires=moment)
    assert world.offer(world.record(1, "a", keys=(key,))) == [False]
    assert world.refused("unreadable") == 2


def test_a_record_that_the_journal_does_not_take_is_refused(world: World) -> None:
    record = msgspec.structs.replace(world.record(1, "a"), origins={"e0": ("x" * (1 << 26),)})
    assert world.offer(record) == [False]
    assert world.refused("unreadable") == 1 and world.on_disk() is None


def test_what_is_not_on_disk_yet_is_not_fresh(world: World) -> None:
    """Workers answer from what was before as long as the journal cannot be written."""
    assert world.offer(world.record(1, "a")) == [True]
    (journal,) = world.state.glob("journal.*")

    async def work() -> None:
        aside = journal.rename(world.state / "aside")
        journal.mkdir()
        offered = asyncio.create_task(world.replica.offer(world.record(2, "b"), world.fetch))
        while world.publisher.problem is None:
            await asyncio.sleep(0.01)
        world.replica.compare("upstream", {APP: 2})
        assert world.store.projects[APP].behind_since is not None
        journal.rmdir()
        aside.rename(journal)
        assert await offered
        assert world.store.projects[APP].behind_since is None

    world.run(work)
