"""The journal: which snapshots and keys are served, as a file that only grows at its end.

    journal.3:   magic | position it continues | records: length, CRC-32, MessagePack (records.py) …

The agent appends, syncs, and only then moves the position in the shared page. A position is one number, the file's
number and an end in bytes, so it is read and written at once; what is before it never changes. Workers read from
where they were to the position. The latest record of a project counts. A file that has grown mostly old is written
anew under the next number, and says which position it continues: who has read up to there needs none of what it
repeats.
"""

from __future__ import annotations

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
_HEAD = struct.Struct("<8sQQ")  # magic, the position it continues, its own end when it was written
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
            records, reached = _records(os.pread(file, end - start, start))
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
    """The agent's end: opened, it is whole, whatever happened to the process that wrote it before."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError; JournalError where a file is not a journal."""
        self._folder = folder
        self._live: dict[ProjectId, int] = {}  # bytes of the latest record of each
        self.records: dict[ProjectId, ProjectRecord] = {}
        numbers = _numbers(folder)
        if not numbers:
            _begin(folder, 1, 0, ())
            numbers = [1]
        self._number = numbers[-1]
        for each in numbers[:-1]:
            _path(folder, each).unlink(missing_ok=True)
        self._file = os.open(_path(folder, self._number), os.O_RDWR | os.O_CLOEXEC)
        _head_of(self._file)
        size = os.fstat(self._file).st_size
        records, reached = _records(os.pread(self._file, size - _HEAD.size, _HEAD.size))
        self._end = _HEAD.size + reached
        os.ftruncate(self._file, self._end)  # a record that was half written when power went; it was never served
        for record in records:
            self._remember(record, len(framed(record)))

    @property
    def position(self) -> int:
        return position_of(self._number, self._end)

    def append(self, records: Iterable[ProjectRecord]) -> int:
        """Writes and syncs; returns the new position. Raises OSError: then nothing was added."""
        frames = [(each, framed(each)) for each in records]
        whole = b"".join(frame for _, frame in frames)
        try:
            written = 0
            while written < len(whole):
                written += os.pwrite(self._file, whole[written:], self._end + written)
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(whole)
        for record, frame in frames:
            self._remember(record, len(frame))
        return self.position

    def compact(self) -> int:
        """Writes the file anew where most of it is old; returns the position, the same or the new. Raises OSError."""
        live = sum(self._live.values())
        if self._end - live < max(COMPACT_BYTES, live):
            return self.position
        old, number = _path(self._folder, self._number), self._number + 1
        _begin(self._folder, number, self.position, self.records.values())
        os.close(self._file)
        self._file = os.open(_path(self._folder, number), os.O_RDWR | os.O_CLOEXEC)
        self._number, self._end = number, os.fstat(self._file).st_size
        old.unlink(missing_ok=True)  # who has it open reads on
        return self.position

    def close(self) -> None:
        os.close(self._file)

    def _remember(self, record: ProjectRecord, size: int) -> None:
        self._live[record.id] = size
        self.records[record.id] = record


def _begin(folder: Path, number: int, continues: int, records: Iterable[ProjectRecord]) -> None:
    body = b"".join(map(framed, records))
    write_atomically(_path(folder, number), _HEAD.pack(MAGIC, continues, _HEAD.size + len(body)) + body)


def _numbers(folder: Path) -> list[int]:
    names = (each.name.removeprefix("journal.") for each in folder.glob("journal.*"))
    return sorted(int(each) for each in names if each.isascii() and each.isdigit())


def _path(folder: Path, number: int) -> Path:
    return folder / f"journal.{number}"


def _head_of(file: int) -> tuple[int, int]:
    """The position that a file continues, and its end when it was written."""
    head = os.pread(file, _HEAD.size, 0)
    if len(head) < _HEAD.size or not head.startswith(MAGIC):
        raise JournalError("it is not a journal of this version")
    _, continues, written = _HEAD.unpack(head)
    return continues, written


def _records(content: bytes) -> tuple[list[ProjectRecord], int]:
    """The whole records at the start, and how many bytes they take."""
    records, at = [], 0
    while at + _FRAME.size <= len(content):
        length, checksum = _FRAME.unpack_from(content, at)
        payload = content[at + _FRAME.size : at + _FRAME.size + length]
        if not 0 < length <= len(payload) or zlib.crc32(payload) != checksum:
            break
        try:
            records.append(_decode(payload))
        except msgspec.ValidationError:
            raise JournalError("the journal is of another version") from None
        at += _FRAME.size + length
    return records, at
