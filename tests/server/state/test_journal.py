"""The journal under everything that can happen to its file: whoever follows the position has exactly what counts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.state.journal import END_BITS, Journal, JournalError, Reader, framed
from server.state.records import KeyGrant, ProjectRecord, Published
from server.types import KeyKind, ProjectId

State = dict[ProjectId, ProjectRecord]


def record(project: int, version: int, keys: int = 1) -> ProjectRecord:
    grants = tuple(KeyGrant(bytes([project, each]) * 16, "s", KeyKind.SERVER, ("a",)) for each in range(keys))
    return ProjectRecord(
        "acme", f"p{project}", (Published("a", version, "00" * 32, 1, 1, 0.0),), grants, version=version
    )


def path_of(folder: Path, position: int) -> Path:
    return folder / f"journal.{position >> END_BITS}"


def state_of(records: list[ProjectRecord]) -> State:
    return {each.id: each for each in records}


class Follower:
    def __init__(self, folder: Path) -> None:
        self.reader = Reader(folder)
        self.state: State = {}

    def follow(self, position: int) -> State:
        self.state.update(state_of(self.reader.read_to(position)))
        return self.state


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, bytes, State]:
    """A folder with a journal of three projects, one of them there twice; its bytes; what counts."""
    journal = Journal(tmp_path)
    journal.append([record(1, 1), record(2, 1)])
    journal.append([record(1, 2), record(3, 1, keys=3)])
    return tmp_path, path_of(tmp_path, journal.position).read_bytes(), journal.records


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 5), min_size=1, max_size=4)),
        st.tuples(st.just("compact"), st.booleans()),
        st.tuples(st.just("crash"), st.integers(0, 400)),
        st.tuples(st.just("read"), st.integers(0, 2)),
        st.tuples(st.just("join"), st.integers(0, 2)),
    ),
    max_size=40,
)


@given(STEPS)
def test_a_follower_has_exactly_what_counts(steps: list[tuple[str, object]]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        journal = Journal(folder)
        position, truth, version = journal.position, dict(journal.records), 0
        followers = [Follower(folder) for _ in range(3)]
        for step in steps:
            match step:
                case "append", list(projects):
                    version += 1
                    position = journal.append([record(each, version, keys=version % 4) for each in projects])
                    truth = dict(journal.records)
                case "compact", bool(told):
                    journal.renew()
                    if told:
                        position = journal.position
                    else:  # ended before it could say so
                        journal = Journal(folder, position)
                        position = journal.position
                case "crash", int(written):  # so many bytes of another append were written
                    version += 1
                    torn = b"".join(framed(record(each, version)) for each in (0, 1, 2))[:written]
                    path = path_of(folder, journal.position)
                    end = journal.position & (1 << END_BITS) - 1
                    path.write_bytes(path.read_bytes()[:end] + torn)
                    journal = Journal(folder, position)
                    assert journal.damage == ""
                    position, truth = journal.position, dict(journal.records)
                case "read", int(who):
                    assert followers[who].follow(position) == truth
                case "join", int(who):
                    followers[who].reader.close()
                    followers[who] = Follower(folder)
        for each in followers:
            assert each.follow(position) == truth
            each.reader.close()
        assert Journal(folder, position).records == truth


def test_a_torn_end_is_cut_off_wherever_it_was_torn(three: tuple[Path, bytes, State]) -> None:
    folder, content, _ = three
    last = len(framed(record(1, 2))) + len(framed(record(3, 1, keys=3)))
    committed = (1 << END_BITS) + len(content) - last
    for end in range(len(content) - last, len(content)):
        path_of(folder, committed).write_bytes(content[:end])
        journal = Journal(folder, committed)
        assert journal.damage == "" and journal.records.keys() == {("acme", "p1"), ("acme", "p2")}
        position = journal.append([record(4, 1)])
        follower = Follower(folder)
        assert follower.follow(position) == Journal(folder).records == journal.records
        follower.reader.close()


def broken(content: bytes) -> Iterator[bytes]:
    """With each byte flipped, and cut off at each."""
    for at in range(len(content)):
        yield content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :]
        yield content[:at]


def test_what_can_be_read_of_a_damaged_file_is_kept(three: tuple[Path, bytes, State]) -> None:
    folder, content, truth = three
    committed = (1 << END_BITS) + len(content)
    for damaged in broken(content):
        for each in folder.iterdir():
            each.unlink()
        path = path_of(folder, committed)
        path.write_bytes(content)
        before = Follower(folder)
        before.follow(committed)
        path.write_bytes(damaged)
        journal = Journal(folder, committed)
        assert journal.damage and path.with_name("journal.1.damaged").read_bytes() == damaged
        if len(damaged) == len(content):  # one record at most is lost
            assert sum(journal.records.get(each) == truth[each] for each in truth) >= len(truth) - 1
        position = journal.append(truth.values())
        assert position >> END_BITS == 2
        after = Follower(folder)
        assert before.follow(position) == after.follow(position) == truth
        before.reader.close()
        after.reader.close()


def test_a_file_that_goes_or_shrinks_while_it_is_in_use_is_written_anew(three: tuple[Path, bytes, State]) -> None:
    folder, _, _ = three
    for size in (0, 50):
        journal = Journal(folder)
        assert journal.is_whole()
        path = path_of(folder, journal.position)
        if size:
            path.write_bytes(path.read_bytes()[:size])
        else:
            path.unlink()
        assert not journal.is_whole()
        position = journal.append([record(9, 1)])
        assert journal.is_whole() and Follower(folder).follow(position) == journal.records


def test_a_folder_that_was_emptied_continues_above_what_workers_know(three: tuple[Path, bytes, State]) -> None:
    folder, content, _ = three
    follower = Follower(folder)
    follower.follow((1 << END_BITS) + len(content))
    for each in folder.iterdir():
        each.unlink()
    journal = Journal(folder, follower.reader.position)
    assert journal.damage and not journal.records
    assert record(7, 1).id in follower.follow(journal.append([record(7, 1)]))


def test_a_reader_stays_where_it_is_when_it_cannot_read(three: tuple[Path, bytes, State]) -> None:
    folder, content, truth = three
    position = (1 << END_BITS) + len(content)
    path_of(folder, position).write_bytes(content[:-1])
    follower = Follower(folder)
    with pytest.raises(JournalError):
        follower.follow(position)
    path_of(folder, position).write_bytes(content)
    assert follower.follow(position) == truth


def test_it_is_compacted_when_most_of_it_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.state.journal.COMPACT_BYTES", 5000)
    journal, follower = Journal(tmp_path), Follower(tmp_path)
    for version in range(200):
        journal.append([record(1, version), record(2, version)])
        assert follower.follow(journal.compact()) == journal.records
        assert len(list(tmp_path.iterdir())) == 1
        assert path_of(tmp_path, journal.position).stat().st_size < 20_000
    assert journal.position >> END_BITS > 3
    assert list(islice(Journal(tmp_path).records, 3)) == [("acme", "p1"), ("acme", "p2")]
