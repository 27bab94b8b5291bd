"""One who has what is published, asked over HTTP: a control plane by its Unix socket, or any Burgee by its address.

    asker = Asker("https://flags.example", "burgee_edge_…")         or  Asker("unix:/var/lib/burgee/control.sock")
    await asker.listing()                       Listing(projects={"shop/web": 18}), or None: as it was
    await asker.record(project)                 ProjectRecord
    await asker.snapshot(project, published)    its bytes, not verified yet
    async for changed in asker.events(): …

Whatever is not literally the answer that docs/sync.md promises is an AskError, and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote

import aiohttp
import msgspec
import zstandard

from server.http.failures import JSON
from server.state.records import ProjectRecord, Published
from server.sync.messages import (
    EVENTS,
    HOSTS,
    LARGEST_LISTING,
    LARGEST_RECORD,
    LARGEST_SNAPSHOT,
    MSGPACK,
    PROJECTS,
    SNAPSHOTS,
    Changed,
    HostReport,
    Listing,
    decode_record,
)
from server.sync.replica import FetchError
from server.types import ProjectId
from server.version import version

UNIX: Final = "unix:"
LISTING_SECONDS: Final = 5.0
REQUEST_SECONDS: Final = 30.0
# A source that comes back is to be noticed within 2 s: an attempt that began while it was away must end soon.
CONNECT_SECONDS: Final = 1.5  # a lost SYN is sent again after 1 s
ANSWER_SECONDS: Final = 2.0  # without a byte; of snapshots, which may have to be packed first, SNAPSHOT_SECONDS
SNAPSHOT_SECONDS: Final = 10.0
SILENCE: Final = 40.0  # seconds after which an event stream, which has a comment every 15 s, is taken for dead
MARK_BYTES: Final = 8  # by which a record says which edge keys it was put together with
_LARGEST_EVENT: Final = 1 << 16  # bytes of a line
_OCTETS: Final = "application/octet-stream"

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_listing = msgspec.json.Decoder(Listing).decode
_decode_changed = msgspec.json.Decoder(Changed).decode


class AskError(FetchError):
    """It cannot be asked, or its answer is none."""


class Asker:
    def __init__(self, url: str, key: str = "") -> None:
        unix = url.removeprefix(UNIX) if url.startswith(UNIX) else None
        self.title = url
        self._base = "http://control" if unix is not None else url.rstrip("/")
        self._unix = unix
        self.mark = hashlib.sha256(key.encode()).digest()[:MARK_BYTES] if key else b""
        self._headers = {"User-Agent": f"burgee/{version()}", "Accept-Encoding": "zstd"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._session: aiohttp.ClientSession | None = None
        self._tag = ""

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def listing(self) -> Listing | None:
        """None: it is what it was."""
        headers = {"If-None-Match": self._tag} if self._tag else {}
        status, tag, body = await self._get(PROJECTS, JSON, LARGEST_LISTING, LISTING_SECONDS, headers)
        if status == 304:
            return None
        try:
            listing = _decode_listing(body)
        except _UNREADABLE:
            raise AskError("its listing cannot be read") from None
        self._tag = tag
        return listing

    def forget(self) -> None:
        """The next listing is to come whole."""
        self._tag = ""

    async def record(self, project: ProjectId) -> ProjectRecord:
        path = f"{PROJECTS}/{project.tenant}/{project.project}"
        _, _, body = await self._get(path, MSGPACK, LARGEST_RECORD, REQUEST_SECONDS)
        try:
            record = decode_record(body)
        except _UNREADABLE:
            raise AskError("its record cannot be read", "unreadable") from None
        if record.id != project:
            raise AskError("it answered with another project's record", "unreadable")
        return record

    async def snapshot(self, project: ProjectId, published: Published) -> bytes:
        path = f"{SNAPSHOTS}/{project.tenant}/{project.project}/{published.digest}"
        _, _, body = await self._get(
            path, _OCTETS, min(published.size, LARGEST_SNAPSHOT), REQUEST_SECONDS, silence=SNAPSHOT_SECONDS
        )
        return body

    async def events(self) -> AsyncIterator[Changed | None]:
        """None once it listens; then each change that it is told of, until it ends. Raises AskError."""
        patience = aiohttp.ClientTimeout(total=None, connect=LISTING_SECONDS, sock_read=SILENCE)
        headers = {**self._headers, "Accept": "text/event-stream", "Accept-Encoding": "identity"}
        try:
            async with self._open().get(
                self._base + EVENTS, headers=headers, timeout=patience, allow_redirects=False
            ) as answer:
                if answer.status != 200 or answer.content_type != "text/event-stream":
                    raise AskError(f"its event stream answered {answer.status} ({answer.content_type})")
                yield None
                async for line in answer.content:
                    if line.startswith(b"data:"):
                        try:
                            yield _decode_changed(line[5:])
                        except _UNREADABLE:
                            raise AskError("an event cannot be read") from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise AskError(_why(error)) from None

    async def report(self, host: str, report: HostReport) -> int:
        """The status it answered with. Raises AskError."""
        headers = {**self._headers, "Content-Type": JSON}
        try:
            async with (
                asyncio.timeout(LISTING_SECONDS),
                self._open().put(
                    f"{self._base}{HOSTS}/{quote(host, safe='')}",
                    data=msgspec.json.encode(report),
                    headers=headers,
                    allow_redirects=False,
                ) as answer,
            ):
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise AskError(_why(error)) from None

    async def _get(
        self,
        path: str,
        kind: str,
        largest: int,
        seconds: float,
        headers: dict[str, str] | None = None,
        *,
        silence: float = ANSWER_SECONDS,
    ) -> tuple[int, str, bytes]:
        """The status, the ETag and the body."""
        patience = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        try:
            async with (
                asyncio.timeout(seconds),
                self._open().get(
                    self._base + path,
                    headers={**self._headers, **(headers or {})},
                    timeout=patience,
                    allow_redirects=False,
                ) as answer,
            ):
                if answer.status == 304 and headers:
                    return 304, "", b""
                if answer.status != 200:
                    raise AskError(f"it answered {answer.status}")
                if answer.content_type != kind:
                    raise AskError(f"it answered with `{answer.content_type}`")
                body = await _bounded(answer, largest)
                packed = answer.headers.get("Content-Encoding") == "zstd"
                tag = answer.headers.get("ETag", "")
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise AskError(_why(error)) from None
        return 200, tag, _unpacked(body, largest) if packed else body

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = (
                aiohttp.UnixConnector(self._unix, limit=32)
                if self._unix is not None
                else aiohttp.TCPConnector(limit=32, ttl_dns_cache=30)
            )
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, read_bufsize=_LARGEST_EVENT, trust_env=True
            )
        return self._session


async def _bounded(answer: aiohttp.ClientResponse, largest: int) -> bytes:
    """Compressed, it is at most a little larger than what it becomes."""
    parts, size = [], 0
    async for part in answer.content.iter_chunked(1 << 18):
        size += len(part)
        if size > largest + (largest >> 6) + 1024:
            raise AskError(f"its answer has more than {largest} bytes", "too_large")
        parts.append(part)
    return b"".join(parts)


def _unpacked(body: bytes, largest: int) -> bytes:
    try:
        content = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body)).read(largest + 1)
    except (zstandard.ZstdError, MemoryError):
        raise AskError("its answer is not the zstd that it says", "digest") from None
    if len(content) > largest:
        raise AskError(f"its answer expands to more than {largest} bytes", "too_large")
    return bytes(content)


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return f"it cannot be reached: {(getattr(error, 'strerror', None) or type(error).__name__)}".lower()
