"""The source through Redis: a task of an agent (ADR 0016).

    doorbell "shop/web 18", an entry of the stream, or the listing  ->  record, snapshots  ->  replica.offer

Each of the three is enough alone: a message that is lost costs a second (the stream) or a few (the listing). What Redis
gives goes through the one door that everything goes through (ADR 0015). What it lacks is asked from elsewhere, where
there is somebody to ask: a snapshot at once, a record by the other source's own comparison.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog
import zstandard
from prometheus_client import CollectorRegistry, Counter, Gauge
from redis.exceptions import ResponseError

from server.state.records import ProjectRecord, Published
from server.sync.messages import LARGEST_RECORD
from server.sync.redis_client import FAILURES, PATIENCE, Attempts, RedisClient, go_on, why
from server.sync.redis_keys import CHANGES, DOORBELL, OWNER, number_in, record_key, snapshot_key
from server.sync.redis_listing import is_of_another_type, project_in, read_listing, unpacked_record
from server.sync.replica import FetchError, Replica
from server.types import ProjectId

NAME: Final = "redis"
PARALLEL: Final = 8  # projects that are fetched at once
ENTRIES: Final = 1000  # of the stream that are read at once
LISTEN_FOR: Final = 5.0  # seconds of silence until the doorbell's connection is tried
SILENCE: Final = 12.0  # seconds after which it is given up
FIRST_REST, LONGEST_REST = 1.0, 15.0  # seconds until a record that was bad is read again; doubled each time
ASK_ELSEWHERE: Final = 1.0  # seconds between two requests for a comparison elsewhere
BEGINNING: Final = b"0-0"

REFUSALS: Final = ("record_missing", "record_unreadable", "record_too_large", "record_behind", "snapshot_missing",
                   "snapshot_unreadable", "snapshot_too_large", "listing_unreadable", "stream_unreadable")  # fmt: skip

Elsewhere = Callable[[ProjectId, Published], Awaitable[bytes]]  # a snapshot; raises FetchError


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, from and to: each pause is drawn anew."""

    stream: tuple[float, float] = (0.5, 1.5)
    listing: tuple[float, float] = (3.0, 5.0)


@dataclass(frozen=True, slots=True)
class _Rest:
    number: int
    pause: float
    until: float  # monotonic


class RedisSource:
    def __init__(
        self,
        redis: RedisClient,
        replica: Replica,
        registry: CollectorRegistry,
        *,
        elsewhere: Elsewhere | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._redis = redis
        self._replica = replica
        self._elsewhere = elsewhere
        self._pace = pace or Pace()
        self._position: bytes | None = None  # in the stream
        self._ours = False  # are the numbers there comparable with ours?
        self._heard = asyncio.Event()  # the stream is to be read at once
        self._look = asyncio.Event()  # the listing is to be compared at once
        self._wanted: dict[ProjectId, int] = {}
        self._some = asyncio.Condition()
        self._busy: set[ProjectId] = set()
        self._resting: dict[ProjectId, _Rest] = {}
        self._asked_elsewhere = 0.0  # monotonic
        self._up: dict[str, bool] = {}
        self._log = structlog.get_logger("redis")
        self._refused = Counter(
            "burgee_redis_refused", "what Redis had and could not be used", ["reason"], registry=registry
        )
        for reason in REFUSALS:
            self._refused.labels(reason)
        self._rings = Counter("burgee_redis_doorbells", "rings of the doorbell that were heard", registry=registry)
        self._gaps = Counter(
            "burgee_redis_stream_gaps", "times the stream was not the one that was read before", registry=registry
        )
        self._failures = Counter("burgee_redis_failures", "attempts at Redis that failed", ["what"], registry=registry)
        up = Gauge("burgee_redis_up", "1 while Redis answers the agent", registry=registry)
        up.set_function(lambda: float(self._up.get("listing", False)))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat("listing", self.compare, self._look, self._pace.listing))
            tasks.create_task(self._repeat("stream", self._read_stream, self._heard, self._pace.stream))
            tasks.create_task(self._repeat("doorbell", self._listen, asyncio.Event(), (0.05, 0.2)))
            if self._elsewhere is None:
                tasks.create_task(self._pass_on_looks())
            for _ in range(PARALLEL):
                tasks.create_task(self._work())

    async def compare(self) -> None:
        """The listing beside what is here. Raises what is in FAILURES."""
        owner = await self._redis.ask("GET", OWNER)
        if owner is None:  # it has forgotten all, or never knew: it says nothing of anything
            self._ours = False
            return
        self._ours = False
        try:
            accepted = self._replica.accepts(owner.decode(errors="replace"))
        except OSError as error:
            raise _NotComparableError(f"the state folder cannot be written: {error.strerror}") from None
        if not accepted:
            raise _NotComparableError("its numbers are those of another record (hint: another --state)")
        self._ours = True
        listed = await read_listing(self._redis)
        self._refused.labels("listing_unreadable").inc(listed.unreadable)
        for project in self._replica.compare(NAME, listed.projects):
            await self._want(project, listed.projects[project])

    async def _read_stream(self) -> None:
        """What came after the position. At first there is none: the listing tells of what was before."""
        top = await self._redis.ask("XREVRANGE", CHANGES, "+", "-", "COUNT", 1)
        newest: bytes = top[0][0] if top else BEGINNING
        if self._position is None:
            self._position = newest
            return
        if _order(newest) < _order(self._position):  # another stream, or an older state of it: read all of it
            self._gaps.inc()
            self._position = BEGINNING
            self._look.set()
        while _order(self._position) < _order(newest):
            entries = await self._redis.ask("XRANGE", CHANGES, b"(" + self._position, "+", "COUNT", ENTRIES)
            if not entries:
                return
            self._position = entries[-1][0]
            for _, fields in entries:
                await self._hear(fields.get(b"project", b""), fields.get(b"number", b""), "stream_unreadable")

    async def _listen(self) -> None:
        """Until the connection is lost: every time that it begins something may have been missed."""
        async with self._redis.subscription(DOORBELL) as doorbell:
            alive = time.monotonic()
            while True:
                async with asyncio.timeout(LISTEN_FOR + PATIENCE):
                    message: dict[str, Any] | None = await doorbell.get_message(timeout=LISTEN_FOR)
                now = time.monotonic()
                if message is None:
                    if now - alive > SILENCE - LISTEN_FOR:
                        raise TimeoutError
                    async with asyncio.timeout(PATIENCE):
                        await doorbell.ping()
                    continue
                alive = now
                if message["type"] == "subscribe":
                    self._worked("doorbell")
                    self._heard.set()
                    self._look.set()
                elif message["type"] == "message":
                    self._rings.inc()
                    project, _, number = message["data"].partition(b" ")
                    await self._hear(project, number, "stream_unreadable", rung=True)

    async def _hear(self, name: bytes, text: bytes, otherwise: str, *, rung: bool = False) -> None:
        project, number = project_in(name), number_in(text)
        if project is None or number is None:
            self._refused.labels(otherwise).inc()
        elif not self._ours:
            self._look.set()  # it was empty when we last looked, or not ours
        elif number > self._replica.number_of(project):
            if rung:
                self._resting.pop(project, None)  # it was written just now
            await self._want(project, number)

    async def _want(self, project: ProjectId, number: int) -> None:
        rest = self._resting.get(project)
        if not self._ours or (rest is not None and rest.number >= number and time.monotonic() < rest.until):
            return
        async with self._some:
            self._wanted[project] = max(number, self._wanted.get(project, 0))
            self._some.notify()

    async def _work(self) -> None:
        attempts = Attempts("reading records from Redis")
        while True:
            go_on()
            async with self._some:
                await self._some.wait_for(lambda: self._first_wanted() is not None)
                project = self._first_wanted()
                assert project is not None
                number = self._wanted.pop(project)
                self._busy.add(project)
            try:
                installed = await self._take(project, number)
            except FAILURES as error:
                self._failures.labels("record").inc()
                await asyncio.sleep(attempts.failed(why(error)))
                installed = False
            except Exception:
                self._log.exception("a project could not be dealt with", project=str(project))
                installed = False
            else:
                attempts.worked()
            finally:
                async with self._some:
                    self._busy.discard(project)
                    self._some.notify()
            self._judge(project, number, installed)

    def _first_wanted(self) -> ProjectId | None:
        """At most `PARALLEL` are busy, so this looks at no more than that and one."""
        return next((each for each in self._wanted if each not in self._busy), None)

    async def _take(self, project: ProjectId, number: int) -> bool:
        """Is what is here now what Redis was said to have, or higher?"""
        if not self._replica.wants(project, number, NAME):
            return True
        try:
            record = await self._record(project)
        except _UnusableError as error:
            self._refused.labels(error.reason).inc()
            return False
        if record.version < number:
            self._refused.labels("record_behind").inc()

        async def fetch(published: Published) -> bytes:
            return await self._snapshot(record, published)

        await self._replica.offer(record, fetch, source=NAME)
        return self._replica.number_of(project) >= number

    def _judge(self, project: ProjectId, number: int, installed: bool) -> None:
        if installed:
            self._resting.pop(project, None)
            return
        last = self._resting.get(project)
        pause = min(LONGEST_REST, 2 * last.pause) if last is not None else FIRST_REST
        self._resting[project] = _Rest(number, pause, time.monotonic() + pause * random.uniform(0.5, 1.0))
        self._replica.failed(project)
        now = time.monotonic()
        if self._elsewhere is not None and now - self._asked_elsewhere > ASK_ELSEWHERE:
            self._asked_elsewhere = now
            self._replica.look.set()

    async def _record(self, project: ProjectId) -> ProjectRecord:
        """Raises _UnusableError and what is in FAILURES."""
        key = record_key(project)
        with _usable("record"):
            size = await self._redis.ask("HSTRLEN", key, "body")
            if not 0 < size <= LARGEST_RECORD:
                raise _UnusableError("record_too_large" if size else "record_missing")
            record = unpacked_record(await self._redis.ask("HGET", key, "body"))
        if record is None or record.id != project:
            raise _UnusableError("record_unreadable")
        return record

    async def _snapshot(self, record: ProjectRecord, published: Published) -> bytes:
        """From Redis, or else from elsewhere. Raises FetchError."""
        try:
            return await self._unpacked(record, published)
        except _UnusableError as error:
            self._refused.labels(error.reason).inc()
            reason = "Redis does not have it as it should be"
        except FAILURES as error:
            self._failures.labels("snapshot").inc()
            reason = why(error)
        if self._elsewhere is None:
            raise FetchError(reason)
        return await self._elsewhere(record.id, published)

    async def _unpacked(self, record: ProjectRecord, published: Published) -> bytes:
        """Raises _UnusableError and what is in FAILURES."""
        key = snapshot_key(record.tenant, published.digest)
        with _usable("snapshot"):
            size = await self._redis.ask("STRLEN", key)
            if not 0 < size <= published.size + (published.size >> 6) + 1024:
                raise _UnusableError("snapshot_too_large" if size else "snapshot_missing")
            content = unpacked(await self._redis.ask("GET", key) or b"", published.size)
        if content is None:
            raise _UnusableError("snapshot_unreadable")
        return content

    async def _pass_on_looks(self) -> None:
        """`replica.look` means whoever compares: this one, where it is the only one."""
        while True:
            await self._replica.look.wait()
            self._look.set()
            await asyncio.sleep(0.2)

    async def _repeat(
        self, what: str, do: Callable[[], Awaitable[None]], wake: asyncio.Event, pause: tuple[float, float]
    ) -> None:
        attempts = Attempts(f"the {what} in Redis")
        while True:
            go_on()
            wake.clear()
            try:
                await do()
            except FAILURES as error:
                await self._rest(what, attempts, why(error))
            except _NotComparableError as error:
                await self._rest(what, attempts, str(error))
            except Exception as error:  # the source outlives what it was not written for
                if not attempts.failing:
                    self._log.exception(f"the {what} in Redis fails")
                await self._rest(what, attempts, type(error).__name__)
            else:
                attempts.worked()
                self._worked(what)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(random.uniform(*pause)):
                        await wake.wait()

    async def _rest(self, what: str, attempts: Attempts, reason: str) -> None:
        self._up[what] = False
        self._failures.labels(what).inc()
        if what == "listing" and self._elsewhere is None:
            self._replica.lost(f"nothing can be compared: {reason}")
        await asyncio.sleep(attempts.failed(reason))

    def _worked(self, what: str) -> None:
        self._up[what] = True


class _NotComparableError(Exception):
    """Why the numbers there cannot be held against those that are here."""


class _UnusableError(Exception):
    """What Redis has is of no use."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextlib.contextmanager
def _usable(what: str) -> Iterator[None]:
    """Raises _UnusableError where there is something of another type under the name."""
    try:
        yield
    except ResponseError as error:
        if is_of_another_type(error):
            raise _UnusableError(f"{what}_unreadable") from None
        raise


def unpacked(packed: bytes, size: int) -> bytes | None:
    """What zstd makes of it, if that has this size: a header that promises more is believed no further."""
    try:
        if zstandard.frame_content_size(packed) not in (-1, size):
            return None
        content: bytes = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
    except (zstandard.ZstdError, MemoryError):
        return None
    return content if len(content) == size else None


def _order(position: bytes) -> tuple[int, int]:
    """Of an id of the stream; lowest for what is none."""
    first, _, second = position.partition(b"-")
    return (int(first), int(second)) if first.isdigit() and second.isdigit() else (0, 0)
