"""The file of a backup: the same for SQLite and Postgres.

    b"burgee-backup\\n"  and, compressed with zstd, frames: 4 bytes of length, then MessagePack
        Header(format=1, schema="0002", epoch=0, created_at=…, columns={"tenants": ["name", …]}, counts={"tenants": 3})
        ["tenants", [["shop", …], ["bank", …]]]      rows, in the order of their references
        ["", [["9c1f…"]]]                            the end: SHA-256 of all frames before it

A file that ends early or was changed is refused before a row of it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import zstandard

from server.record.failures import RecordError

MAGIC: Final = b"burgee-backup\n"
FORMAT: Final = 1
LARGEST: Final = 1 << 30  # bytes of a frame
END: Final = ""

Rows = list[list[Any]]


class BackupError(RecordError):
    """This file is not to be restored: why."""


class Header(msgspec.Struct, frozen=True, rename="camel"):
    format: int
    schema: str  # the newest revision of `migrations/`
    epoch: int
    created_at: float
    columns: dict[str, list[str]]
    counts: dict[str, int]


class Writer:
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def header(self, header: Header) -> None:
        self._frame(msgspec.msgpack.encode(header))

    def rows(self, table: str, rows: Rows) -> None:
        self._frame(msgspec.msgpack.encode((table, rows)))

    def end(self) -> None:
        self._frame(msgspec.msgpack.encode((END, [[self._digest.hexdigest()]])))

    def _frame(self, content: bytes) -> None:
        framed = len(content).to_bytes(4, "big") + content
        self._digest.update(framed)
        self._stream.write(framed)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Beside it, and at its place only when it is whole and on disk. Raises OSError."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # open to nobody else
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(MAGIC)
            compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
            with compressor.stream_writer(file, closefd=False) as stream:
                writer = Writer(stream)
                yield writer
                writer.end()
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_header(path: Path) -> Header:
    """Raises BackupError, OSError."""
    with path.open("rb") as file:
        content, _ = next(_frames(file), (b"", b""))
    return _header_of(content)


def read_rows(path: Path) -> Iterator[tuple[str, Rows]]:
    """Raises BackupError, in the worst case at the end: look at all of it before any of it is used."""
    with path.open("rb") as file:
        frames = _frames(file)
        content, _ = next(frames, (b"", b""))
        header = _header_of(content)
        counts = dict.fromkeys(header.counts, 0)
        for content, digest in frames:
            try:
                table, rows = msgspec.msgpack.decode(content, type=tuple[str, Rows])
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise BackupError("the file is damaged") from None
            if table == END:
                if [[digest.hex()]] != rows or counts != header.counts or next(frames, None) is not None:
                    raise BackupError("the file is damaged: it does not have the digest that it should")
                return
            if table not in counts or any(len(row) != len(header.columns[table]) for row in rows):
                raise BackupError("the file is damaged: it has rows that it should not have")
            counts[table] += len(rows)
            yield table, rows
        raise BackupError("the file ends early")


def _header_of(content: bytes) -> Header:
    try:
        found = msgspec.msgpack.decode(content, type=dict[str, Any])
        if found.get("format") != FORMAT:
            raise BackupError(f"the backup has format {found.get('format')}, this program knows format {FORMAT}")
        return msgspec.convert(found, Header)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a ValidationError is one
        raise BackupError("the file is damaged") from None


def _frames(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Each with the digest of all before it."""
    if file.read(len(MAGIC)) != MAGIC:
        raise BackupError("the file is no backup of Burgee")
    digest = hashlib.sha256()
    with zstandard.ZstdDecompressor().stream_reader(file, closefd=False) as stream:
        while head := _read(stream, 4):
            size = int.from_bytes(head, "big")
            content = _read(stream, size) if len(head) == 4 and size <= LARGEST else b""
            if len(content) != size:
                raise BackupError("the file ends early, or is damaged")
            before = digest.digest()
            digest.update(head + content)
            yield content, before


def _read(stream: Any, size: int) -> bytes:
    parts = []
    try:
        while size and (part := stream.read(size)):
            parts.append(part)
            size -= len(part)
    except zstandard.ZstdError:
        raise BackupError("the file is damaged") from None
    return b"".join(parts)
