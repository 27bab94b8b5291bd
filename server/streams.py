"""Event streams: connections that are told when their environment has another version. Server-sent events (WHATWG).

    retry: 3127                                  once, another number for each connection
    id: 1795361906615

    id: 1795361907001                            for each version that is published
    data: {"type":"refetchEvaluation"}

    :                                            now and then, so that nobody in between takes it for dead

An event is made once for an environment, and the same bytes are written to all who listen. A stream is a transport and
a few words of memory: no task, no timer, no queue. Who does not read loses the connection; EventSource opens another.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from server.shared.page import Block, Page
from server.state.catalog import Catalog
from server.types import EnvironmentId, Grant, ProjectId

RETRY = (1000, 5000)  # milliseconds until a client comes back: spread, so that not all come at once
MOST_UNREAD = 16 * 1024  # bytes: some hundred events
TURN = 256  # streams written to before others have their turn
FRESH = 60.0  # seconds: a version this young may have come between a client's answer and its stream
SLICE = 0.05  # seconds between two lots of streams that are ended


class Bytes(NamedTuple):
    """What is written to HTTP/1.0 connections, and as a chunk to all others."""

    plain: bytes
    chunked: bytes


def _bytes(plain: bytes) -> Bytes:
    return Bytes(plain, b"%x\r\n%b\r\n" % (len(plain), plain))


HEARTBEAT = _bytes(b":\n\n")
END = Bytes(b"", b"0\r\n\r\n")


class Streams:
    """All event streams of one process."""

    def __init__(self, catalog: Catalog, page: Page, block: Block, *, longest: float, heartbeat: float) -> None:
        """`longest` and `heartbeat` in seconds."""
        self._catalog = catalog
        self._page = page
        self._block = block
        self._longest = longest
        self._channels: dict[ProjectId, dict[EnvironmentId, _Channel]] = {}
        self._beats: list[set[Stream]] = [set() for _ in range(max(1, round(heartbeat)))]  # a second each
        self._second = 0
        self._untold: deque[Stream] = deque()
        self._draining = False

    def __len__(self) -> int:
        return sum(map(len, self._beats))

    def add(
        self,
        transport: asyncio.Transport,
        grant: Grant,
        environment: EnvironmentId,
        last_seen: str | None,
        chunked: bool,
        origin: str | None = None,
    ) -> None:
        """The connection is a stream from now on; its head is written. `last_seen` as its `Last-Event-ID`.

        `origin`: of the page that uses a client key. What opened the stream may be over since its head was written.
        """
        published = self._catalog.published(environment)
        channels = self._channels.setdefault(environment.project_id, {})
        channel = channels.get(environment)
        if channel is None:
            channel = channels[environment] = _Channel(self, self._page, environment)
        if published is not None:
            channel.turn_to(published.version)
        stream = Stream(channel, transport, grant.digest, origin, chunked, self._ends(grant))
        stream.beat.add(stream)
        self._block.hold(channel.tenant, streams=1)
        transport.set_write_buffer_limits(high=MOST_UNREAD)
        transport.set_protocol(stream)
        transport.resume_reading()
        stream.write(_bytes(b"retry: %d\nid: %d\n\n" % (random.randint(*RETRY), channel.version)))
        missed = published is not None and time.time() - published.installed_at < FRESH
        if (last_seen != str(channel.version)) if last_seen is not None else missed:
            stream.write(channel.event)
        stream.told = channel.version
        if published is None or self._draining or not self._may_listen(stream, environment):
            stream.finish()

    def changed(self, projects: Iterable[ProjectId]) -> None:
        """What is published of them, or their keys, may be others now."""
        for project in projects:
            for channel in tuple(self._channels.get(project, {}).values()):
                published = self._catalog.published(channel.environment)
                for stream in tuple(channel.members):
                    if published is None or not self._may_listen(stream, channel.environment):
                        stream.finish()
                if published is not None and channel.turn_to(published.version):
                    self._untold.extend(channel.members)
        self._tell()

    def tick(self) -> None:
        """Once a second: a part of the streams gets its comment, or its end."""
        self._second = (self._second + 1) % len(self._beats)
        now = time.monotonic()
        for stream in tuple(self._beats[self._second]):
            stream.look_after(now)

    async def drain(self, seconds: float) -> None:
        """End all, spread over so long, so that those who come back do not come at once."""
        self._draining = True
        streams = [each for beat in self._beats for each in beat]
        random.shuffle(streams)
        lot = math.ceil(len(streams) / max(1.0, seconds / SLICE))
        for start in range(0, len(streams), lot or 1):
            for each in streams[start : start + lot]:
                each.finish()
            await asyncio.sleep(SLICE)
        for beat in self._beats:
            for each in tuple(beat):
                each.transport.abort()

    def beat_of_next(self) -> set[Stream]:
        return random.choice(self._beats)

    def left(self, stream: Stream) -> None:
        channel = stream.channel
        channel.members.discard(stream)
        self._block.hold(channel.tenant, streams=-1)
        if not channel.members:
            channels = self._channels.get(channel.environment.project_id, {})
            if channels.get(channel.environment) is channel:
                del channels[channel.environment]
            if not channels:
                self._channels.pop(channel.environment.project_id, None)

    def _may_listen(self, stream: Stream, environment: EnvironmentId) -> bool:
        grant = self._catalog.grant(stream.digest)
        opens = grant is not None and grant.evaluates and environment in grant.environments
        return opens and (stream.origin is None or self._catalog.allows(environment, stream.origin))

    def _ends(self, grant: Grant) -> float:
        longest = self._longest * random.uniform(0.8, 1.2)
        if grant.expires is not None:
            longest = min(longest, grant.expires - time.time())
        return time.monotonic() + longest

    def _tell(self) -> None:
        """The first are told at once, the rest in the turns of the loop that follow."""
        for _ in range(min(TURN, len(self._untold))):
            self._untold.popleft().tell()
        if self._untold:
            asyncio.get_running_loop().call_soon(self._tell)


class _Channel:
    """Who listens to one environment, and what they are told."""

    __slots__ = ("environment", "event", "members", "streams", "tenant", "version")

    def __init__(self, streams: Streams, page: Page, environment: EnvironmentId) -> None:
        self.streams = streams
        self.environment = environment
        self.tenant = page.cell(environment.tenant)
        self.members: set[Stream] = set()
        self.version = 0
        self.event = _bytes(b"")

    def turn_to(self, version: int) -> bool:
        """Is that another one?"""
        if version == self.version:
            return False
        self.version = version
        self.event = _bytes(b'id: %d\ndata: {"type":"refetchEvaluation"}\n\n' % version)
        return True


class Stream(asyncio.Protocol):
    __slots__ = ("beat", "channel", "chunked", "digest", "ends", "origin", "told", "transport")

    def __init__(
        self,
        channel: _Channel,
        transport: asyncio.Transport,
        digest: bytes,
        origin: str | None,
        chunked: bool,
        ends: float,
    ) -> None:
        self.channel = channel
        self.transport = transport
        self.digest = digest  # of its key
        self.origin = origin  # of the page, where that has a say
        self.chunked = chunked
        self.ends = ends  # seconds, monotonic
        self.told = 0  # version
        self.beat = channel.streams.beat_of_next()
        channel.members.add(self)

    def write(self, what: Bytes) -> None:
        self.transport.write(what[self.chunked])

    def tell(self) -> None:
        if self.told != self.channel.version and not self.transport.is_closing():
            self.told = self.channel.version
            self.write(self.channel.event)

    def look_after(self, now: float) -> None:
        if self.transport.is_closing():  # since the last time, and the client still does not read the end
            self.transport.abort()
        elif now >= self.ends:
            self.finish()
        else:
            self.write(HEARTBEAT)

    def finish(self) -> None:
        """As a body ends, so that the client comes back when `retry` says."""
        if not self.transport.is_closing():
            self.write(END)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Nothing that a client sends on means anything."""

    def pause_writing(self) -> None:
        self.transport.abort()  # it does not read

    def connection_lost(self, error: Exception | None) -> None:
        self.beat.discard(self)
        self.channel.streams.left(self)
