"""The journal: which snapshots and keys are served, as a file that only grows at its end.

    journal.3:   magic | position it continues | records: length, CRC-32, MessagePack (records.py) …

The agent appends, syncs, and only then moves the position in the shared page. A position is one number, the file's
number and an end in bytes, so it is read and written at once; what is before it never changes. Workers read from
where they were to the position. The latest record of a project counts. A file that has grown mostly old is written
anew under the next number, and says which position it continues: who has read up to there needs none of what it
repeats.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from server.files import write_atomically
from server.state.records import ProjectRecord
from server.types import ProjectId

MAGIC = b"BURGEEJ1"
_HEAD = struct.Struct("<8sQQI")  # magic, the position it continues, its own end when it was written, CRC-32 of these
_FRAME = struct.Struct("<II")  # bytes of the record, their CRC-32
LARGEST_RECORD = 1 << 26  # bytes: some hundred thousand keys
END_BITS = 48
COMPACT_BYTES = 1 << 24  # of outdated records before a file is written anew

_decode = msgspec.msgpack.Decoder(ProjectRecord).decode
_encode = msgspec.msgpack.Encoder().encode


class JournalError(ValueError):
    """What is there is not a journal, or not up to where it should be."""


def position_of(number: int, end: int) -> int:
    """
    >>> divmod(position_of(3, 100), 1 << END_BITS)
    (3, 100)
    """
    return number << END_BITS | end


def framed(record: ProjectRecord) -> bytes:
    payload = _encode(record)
    if len(payload) > LARGEST_RECORD:
        raise JournalError("a project's record is too large")
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


class Reader:
    """Follows the journal of a folder from position to position."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = -1
        self.position = 0

    def read_to(self, position: int) -> list[ProjectRecord]:
        """The records since the last call, oldest first. Raises JournalError, OSError: nothing was read then."""
        number, end = divmod(position, 1 << END_BITS)
        file, start = self._file, self.position & (1 << END_BITS) - 1
        if number != self.position >> END_BITS:
            file = os.open(_path(self._folder, number), os.O_RDONLY | os.O_CLOEXEC)
        try:
            if file != self._file:
                continues, written = _head_of(file)
                start = written if continues == self.position and self.position else _HEAD.size
            records, reached = _records(os.pread(file, max(0, end - start), start))
            if start + reached != end:
                raise JournalError(f"the journal is damaged at {start + reached}")
        except BaseException:
            if file != self._file:
                os.close(file)
            raise
        if file != self._file:
            self.close()
        self._file, self.position = file, position
        return records

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Journal:
    """The agent's end: opened, it is whole, whatever happened to its file or to the process that wrote it before.

    What was half written when power went was never served, and is cut off. A file that is damaged before that, or ends
    before `committed`, is put aside as `journal.3.damaged`, and what can be read of it begins the next one.
    """

    def __init__(self, folder: Path, committed: int = 0) -> None:
        """`committed` is the position that workers know. Raises OSError."""
        self._folder = folder
        self._live: dict[ProjectId, int] = {}  # bytes of the latest record of each
        self.records: dict[ProjectId, ProjectRecord] = {}
        self.damage = ""  # what was found when it was opened; empty where it was well
        numbers = _numbers(folder)
        self._number = numbers[-1] if numbers else 0
        content = _path(folder, self._number).read_bytes() if numbers else b""
        records, reached, beyond = _salvage(content)
        self._end = reached
        for record in (*records, *beyond):
            self._remember(record, len(framed(record)))
        if not numbers and not committed:
            self._begin_next(0)
        elif not reached:
            self.damage = "it is not a journal" if numbers else "it is gone"
        elif beyond or position_of(self._number, reached) < committed:
            self.damage = f"it cannot be read at byte {reached}"
        if self.damage:
            self._number = max(self._number, committed >> END_BITS)
            path = _path(folder, self._number)
            self._begin_next(0)  # workers read it from its start
            with contextlib.suppress(OSError):
                path.replace(path.with_name(f"{path.name}.damaged"))
        for each in numbers[:-1]:
            with contextlib.suppress(OSError):
                _path(folder, each).unlink(missing_ok=True)

    @property
    def position(self) -> int:
        return position_of(self._number, self._end)

    def append(self, records: Iterable[ProjectRecord]) -> int:
        """Writes and syncs; returns the new position. Raises OSError: then nothing was added."""
        frames = [(each, framed(each)) for each in records]
        whole = b"".join(frame for _, frame in frames)
        if self._size() < self._end:  # somebody took it away, or a part of it
            self.renew()
        # Opened each time: a folder that can only be read, or not any more, is an error here and not at the start.
        file = os.open(_path(self._folder, self._number), os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(file, self._end)  # off with what was half written
            try:
                written = 0
                while written < len(whole):
                    written += os.pwrite(file, whole[written:], self._end + written)
                os.fdatasync(file)
            except OSError:
                os.ftruncate(file, self._end)
                raise
        finally:
            os.close(file)
        self._end += len(whole)
        for record, frame in frames:
            self._remember(record, len(frame))
        return self.position

    def compact(self) -> int:
        """Writes the file anew where most of it is old; returns the position, the same or the new. Raises OSError."""
        live = sum(self._live.values())
        return self.position if self._end - live < max(COMPACT_BYTES, live) else self.renew()

    def renew(self) -> int:
        """Writes the file anew under the next number; returns the new position. Raises OSError."""
        old = _path(self._folder, self._number)
        self._begin_next(self.position)
        with contextlib.suppress(OSError):
            old.unlink()  # who has it open reads on
        return self.position

    def is_whole(self) -> bool:
        """Can a worker read the file from its start to its end?"""
        try:
            content = _path(self._folder, self._number).read_bytes()
        except OSError:
            return False
        _, reached, _ = _salvage(content[: self._end])
        return reached == self._end

    def _size(self) -> int:
        try:
            return _path(self._folder, self._number).stat().st_size
        except FileNotFoundError:
            return 0

    def _begin_next(self, continues: int) -> None:
        path = _path(self._folder, self._number + 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        body = b"".join(map(framed, self.records.values()))
        try:
            write_atomically(path, _head(continues, _HEAD.size + len(body)) + body)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()  # or the next agent takes it for the journal, and it lacks what is appended from here
            raise
        self._number, self._end = self._number + 1, _HEAD.size + len(body)

    def _remember(self, record: ProjectRecord, size: int) -> None:
        self._live[record.id] = size
        self.records[record.id] = record


def _numbers(folder: Path) -> list[int]:
    names = (each.name.removeprefix("journal.") for each in folder.glob("journal.*"))
    return sorted(int(each) for each in names if each.isascii() and each.isdigit() and len(each) < 6)


def _path(folder: Path, number: int) -> Path:
    return folder / f"journal.{number}"


def _head_of(file: int) -> tuple[int, int]:
    """The position that a file continues, and its end when it was written."""
    head = os.pread(file, _HEAD.size, 0)
    if not _is_head(head):
        raise JournalError("it is not a journal of this version")
    _, continues, written, _ = _HEAD.unpack(head)
    return continues, written


def _head(continues: int, end: int) -> bytes:
    head = _HEAD.pack(MAGIC, continues, end, 0)[:-4]
    return head + zlib.crc32(head).to_bytes(4, "little")


def _is_head(head: bytes) -> bool:
    return len(head) == _HEAD.size and head == _head(*_HEAD.unpack(head)[1:3])


def _records(content: bytes) -> tuple[list[ProjectRecord], int]:
    """The whole records at the start, and how many bytes they take."""
    records, at = [], 0
    while (found := _record_at(content, at)) is not None:
        record, size = found
        records.append(record)
        at += size
    return records, at


def _salvage(content: bytes) -> tuple[list[ProjectRecord], int, list[ProjectRecord]]:
    """The records of a whole file up to the first place that cannot be read, that place, and the records beyond it.

    The place is 0 where not even the head can be read.
    """
    records, reached = _records(content[_HEAD.size :])
    beyond, at = [], _HEAD.size + reached
    while at < len(content):
        found = _record_at(content, at)
        if found is not None:
            beyond.append(found[0])
        at += found[1] if found else 1
    return records, _HEAD.size + reached if _is_head(content[: _HEAD.size]) else 0, beyond


def _record_at(content: bytes, at: int) -> tuple[ProjectRecord, int] | None:
    """The record whose frame is here, and the bytes it takes."""
    if at + _FRAME.size >= len(content):
        return None
    length, checksum = _FRAME.unpack_from(content, at)
    payload = content[at + _FRAME.size : at + _FRAME.size + length] if length <= LARGEST_RECORD else b""
    if not 0 < length == len(payload) or zlib.crc32(payload) != checksum:
        return None
    try:
        return _decode(payload), _FRAME.size + length
    except msgspec.DecodeError:
        return None
