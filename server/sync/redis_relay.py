"""The relay: what is in the record becomes what is in Redis (ADR 0016). A task of each control plane.

    outbox: shop/web 18  ->  snapshots, then the record, then listing and stream, then the doorbell  ->  outbox: empty

At least once, in any order, by several at once: Redis keeps the highest. Every few seconds the listing in Redis is
compared with the record, and what is missing or lower is written; and some projects in turn are looked at in full, so
that what Redis forgot comes back, and what it has does not expire. While Redis is away the outbox waits.

INVARIANT: nothing is taken out of the outbox before Redis has it. Nothing in Redis is replaced by what is lower: there
a number above the record's means an older record was restored as if nothing had happened, and people must look.
A Redis that belongs to another record is not written to at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from redis.exceptions import ResponseError
from sqlalchemy import select

from server.control.feed import Feed
from server.record.database import Record, RecordError, identify
from server.record.outbox import look_into, take_out
from server.record.projects import listing, record_of
from server.record.tables import snapshots
from server.state.records import ProjectRecord
from server.sync.messages import encode_record
from server.sync.redis_client import FAILURES, Attempts, RedisClient, go_on, why
from server.sync.redis_keys import (
    CHANGES,
    CHANGES_KEPT,
    DOORBELL,
    LISTING,
    OWNER,
    RAISE_LISTING,
    SET_RECORD,
    SNAPSHOT_EXPIRES,
    number_in,
    record_key,
    snapshot_key,
)
from server.sync.redis_listing import is_of_another_type, read_listing, unpacked_record
from server.types import ProjectId

BATCH: Final = 64  # projects that are written together
LOOKED_AT: Final = 200  # projects that are looked at in full in a round
WRITTEN: Final = ("snapshot", "record", "listing", "stream", "doorbell")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds, from and to: each pause is drawn anew."""

    outbox: tuple[float, float] = (0.5, 1.0)  # between two looks, where nobody says that there is something
    comparison: tuple[float, float] = (2.0, 4.0)


class RedisRelay:
    def __init__(
        self, record: Record, feed: Feed, redis: RedisClient, registry: CollectorRegistry, pace: Pace | None = None
    ) -> None:
        self._record = record
        self._feed = feed
        self._redis = redis
        self._pace = pace or Pace()
        self._wake = asyncio.Event()
        self._compare_now = asyncio.Event()
        self._oldest: float | None = None  # row of the outbox
        self._next = 0  # of the projects in order: where the next look in full begins
        self._ahead: set[ProjectId] = set()
        self._reported: dict[ProjectId, int] = {}  # of which another body has the number
        self._id = ""  # of the record
        self._log = structlog.get_logger("relay")
        lag = Gauge("burgee_relay_lag_seconds", "age of the oldest change that is not in Redis yet", registry=registry)
        lag.set_function(lambda: max(0.0, time.time() - self._oldest) if self._oldest is not None else 0.0)
        self._waiting = Gauge("burgee_relay_outbox", "changes that are not in Redis yet", registry=registry)
        self._writes = Counter("burgee_relay_writes", "what was written to Redis", ["what"], registry=registry)
        for what in WRITTEN:
            self._writes.labels(what)
        self._failures = Counter("burgee_relay_failures", "rounds of the relay that failed", registry=registry)
        self._conflicts = Counter(
            "burgee_relay_conflicts", "records in Redis with our number and other content", registry=registry
        )
        ahead = Gauge(
            "burgee_relay_ahead", "projects of which Redis has a higher number than the record", registry=registry
        )
        ahead.set_function(lambda: len(self._ahead))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._repeat("the relay of the outbox", self.drain, self._wake, self._pace.outbox))
            tasks.create_task(
                self._repeat(
                    "the comparison of Redis with the record", self.compare, self._compare_now, self._pace.comparison
                )
            )

    async def drain(self) -> None:
        """Until the outbox is empty. Raises RecordError and what is in FAILURES."""
        while True:
            async with self._record.look() as tx:
                outbox = await look_into(tx, BATCH)
            self._oldest = outbox.oldest
            self._waiting.set(outbox.count)
            if not outbox.waiting:
                return
            done = await self.write({each.project for each in outbox.waiting})
            ids = [each.id for each in outbox.waiting if each.project in done]
            if not ids:
                raise RecordError("none of the oldest projects in the outbox could be written")
            async with self._record.change() as tx:
                await take_out(tx, ids)

    async def compare(self) -> None:
        """What is missing in Redis or lower is written, and some projects are looked at in full."""
        await self._claim()
        there = (await read_listing(self._redis)).projects  # first: whatever comes in meanwhile is in the record too
        async with self._record.look() as tx:
            here = await listing(tx)
        self._alarm({each for each, number in there.items() if number > here.get(each, 0)}, there, here)
        lower = [each for each, number in here.items() if there.get(each, 0) < number]
        for start in range(0, len(lower), BATCH):
            await self.write(lower[start : start + BATCH])
        await self._look_in_full(here)

    async def write(self, projects: Collection[ProjectId]) -> set[ProjectId]:
        """Those that Redis has now, or something higher of them. A project that cannot be written holds up no other."""
        await self._claim()
        records: list[ProjectRecord] = []
        async with self._record.look() as tx:
            for project in projects:
                record = await record_of(tx, project)
                if record is not None and record.version:
                    records.append(record)
        failed: set[ProjectId] = set()
        outcomes = await asyncio.gather(*map(self._write_one, records), return_exceptions=True)
        done = [record for record, outcome in zip(records, outcomes, strict=True) if outcome is None]
        if done:
            await self._announce(done)
        for record, outcome in zip(records, outcomes, strict=True):
            if isinstance(outcome, (RecordError, *FAILURES)) or not isinstance(outcome, Exception | None):
                raise outcome
            if outcome is not None:
                failed.add(record.id)
                self._failures.inc()
                self._log.error("a project cannot be written", project=str(record.id), why=repr(outcome)[:200])
        return set(projects) - failed

    async def _claim(self) -> None:
        """Whose numbers these are: those of two records cannot be compared."""
        if not self._id:
            async with self._record.change() as tx:
                self._id = await identify(tx)
        owner = await self._redis.ask("GET", OWNER)
        if owner is None:
            await self._redis.ask("SET", OWNER, self._id, "NX")
            owner = await self._redis.ask("GET", OWNER)
        if owner != self._id.encode():
            raise RecordError(
                "Redis belongs to another record "
                f"(hint: if that one is gone for good, delete what begins with `burgee:`; `{OWNER}` says whose it is)"
            )

    async def _write_one(self, record: ProjectRecord) -> None:
        digests = {each.digest for each in record.snapshots}
        there = await asyncio.gather(*(self._keep(record.tenant, each) for each in digests))
        for digest in (digest for digest, kept in zip(digests, there, strict=True) if not kept):
            async with self._record.look() as tx:
                here = (snapshots.c.tenant == record.tenant) & (snapshots.c.project == record.project)
                packed = await tx.scalar(select(snapshots.c.content).where(here, snapshots.c.digest == digest))
            if packed is None:
                self._log.warning("the record lacks a snapshot", project=str(record.id), digest=digest)
                continue
            await self._redis.ask("SET", snapshot_key(record.tenant, digest), packed, "EX", SNAPSHOT_EXPIRES)
            self._writes.labels("snapshot").inc()
        await self._raise(record, encode_record(record))

    async def _keep(self, tenant: str, digest: str) -> bool:
        """Is it there? If so, for another week."""
        return bool(await self._redis.ask("EXPIRE", snapshot_key(tenant, digest), SNAPSHOT_EXPIRES))

    async def _raise(self, record: ProjectRecord, body: bytes) -> None:
        key = record_key(record.id)
        outcome, there = await self._redis.ask("EVAL", SET_RECORD, 1, key, record.version, body)
        if outcome == b"other":
            found = unpacked_record(await self._redis.ask("HGET", key, "body"))
            if found is None or found.id != record.id:  # nobody's record: it can only be in the way
                await self._redis.ask("DEL", key)
                outcome, there = await self._redis.ask("EVAL", SET_RECORD, 1, key, record.version, body)
            elif found.version == record.version and _but_for_expired_keys(found) != _but_for_expired_keys(record):
                self._report_conflict(record)
        if outcome == b"written":
            self._writes.labels("record").inc()
        elif outcome == b"higher":  # another relay was quicker; or the record is older than it was
            async with self._record.look() as tx:
                here = await listing(tx)
            number = number_in(there) or 0
            if number > here.get(record.id, 0):
                self._alarm(self._ahead | {record.id}, {record.id: number}, here)

    async def _announce(self, records: list[ProjectRecord]) -> None:
        pairs = [word for each in records for word in (str(each.id), str(each.version))]
        raised, *_ = await asyncio.gather(
            self._redis.ask("EVAL", RAISE_LISTING, 1, LISTING, *pairs), *(self._note(each) for each in records)
        )
        self._writes.labels("listing").inc(raised)
        await asyncio.gather(*(self._redis.ask("PUBLISH", DOORBELL, f"{each.id} {each.version}") for each in records))
        self._writes.labels("doorbell").inc(len(records))

    async def _note(self, record: ProjectRecord) -> None:
        entry = ("*", "project", str(record.id), "number", record.version)
        command = ("XADD", CHANGES, "MAXLEN", "~", CHANGES_KEPT, *entry)
        try:
            await self._redis.ask(*command)
        except ResponseError as error:
            if not is_of_another_type(error) and "exhausted" not in str(error):
                raise
            await self._redis.ask("DEL", CHANGES)  # somebody else has made it unusable
            await self._redis.ask(*command)
        self._writes.labels("stream").inc()

    async def _look_in_full(self, here: Mapping[ProjectId, int]) -> None:
        order = sorted(here)
        chosen = order[self._next : self._next + LOOKED_AT]
        self._next = self._next + LOOKED_AT if self._next + LOOKED_AT < len(order) else 0
        for start in range(0, len(chosen), BATCH):
            some = chosen[start : start + BATCH]
            whole = await asyncio.gather(*(self._is_whole(each, here[each]) for each in some))
            if lacking := [each for each, is_whole in zip(some, whole, strict=True) if not is_whole]:
                await self.write(lacking)

    async def _is_whole(self, project: ProjectId, number: int) -> bool:
        try:
            body = await self._redis.ask("HGET", record_key(project), "body")
        except ResponseError as error:
            if is_of_another_type(error):
                return False
            raise
        record = unpacked_record(body) if body is not None else None
        if record is None or record.id != project or record.version < number:
            return False
        return all([await self._keep(project.tenant, each.digest) for each in record.snapshots])

    def _alarm(self, ahead: set[ProjectId], there: Mapping[ProjectId, int], here: Mapping[ProjectId, int]) -> None:
        new = ahead - self._ahead
        for each in sorted(new)[:3]:  # a line for each of thousands would say no more
            self._log.error(
                "Redis has a higher number than the record: was an older record restored without a new epoch?",
                project=str(each),
                redis=there[each],
                record=here.get(each, 0),
                projects=len(ahead),
            )
        self._ahead = ahead

    def _report_conflict(self, record: ProjectRecord) -> None:
        if self._reported.get(record.id) != record.version:
            self._reported[record.id] = record.version
            self._conflicts.inc()
            self._log.error(
                "Redis has another record with this number: do two records write to one Redis?",
                project=str(record.id),
                number=record.version,
            )

    async def _listen(self) -> None:
        async for _ in self._feed.listen():
            self._wake.set()

    async def _repeat(
        self, what: str, do: Callable[[], Awaitable[None]], wake: asyncio.Event, pause: tuple[float, float]
    ) -> None:
        attempts = Attempts(what)
        while True:
            go_on()
            wake.clear()
            try:
                await do()
            except RecordError as error:
                await self._rest(attempts, str(error))
            except FAILURES as error:
                await self._rest(attempts, why(error))
            except Exception as error:  # the relay outlives what it was not written for
                if not attempts.failing:
                    self._log.exception(f"{what} fails")
                await self._rest(attempts, type(error).__name__)
            else:
                if attempts.failing:
                    self._compare_now.set()  # a Redis that was away may have come back empty, or older
                attempts.worked()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(random.uniform(*pause)):
                        await wake.wait()

    async def _rest(self, attempts: Attempts, reason: str) -> None:
        self._failures.inc()
        await asyncio.sleep(attempts.failed(reason))


def _but_for_expired_keys(record: ProjectRecord) -> tuple[Any, ...]:
    """What two records of one number share: a key that expires leaves the record, and nobody counts that."""
    now = time.time()
    keys = {each for each in record.keys if each.expires is None or each.expires > now}
    return record.environments, record.origins, record.canaries, keys
