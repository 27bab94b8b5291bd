"""Who is told of what by webhook: the audit says what happened, and each tenant's webhooks hear of it.

    audit: shop, 42, environment.publish   ->   POST https://ci.example/burgee {"event": "publish", "id": "shop-42", …}

What was told is a number for each tenant, in the record: of several control planes one tells it, and a restart tells
what happened meanwhile. A call that fails is tried again a few times, then let go: nothing waits for it, and a new
process does not know of it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from server.control.api.values import moment_of
from server.control.metrics import ControlMetrics
from server.control.webhook_addresses import Network
from server.control.webhook_calls import Call, CallError, call
from server.record.database import Record, RecordUnavailableError, Transaction, put_value, value_of
from server.record.tables import audit, instance, tenants, webhooks

EVENTS: Final = {  # what the audit calls it
    "environment.publish": "publish",
    "environment.rollback": "publish",
    "environment.promote": "publish",
    "environment.kill": "publish",
    "draft.approve": "approval",
    "canary.halt": "canary.halt",
}
INTERVAL: Final = 1.0  # seconds between two looks
AT_ONCE: Final = 16  # calls
OF_A_TENANT: Final = 2  # of those
WAITING: Final = 200  # calls of a tenant that are not done; more are let go
PAUSES: Final = (1.0, 5.0, 30.0, 120.0)  # seconds before the tries that follow the first, times 0.5 to 1.5
_TOLD = "webhooks"  # in `instance`: tenant -> number of its last audit row that was told


class Webhooks:
    def __init__(
        self,
        record: Record,
        allow: Sequence[Network] = (),
        pauses: Sequence[float] = PAUSES,
        metrics: ControlMetrics | None = None,
    ) -> None:
        self._record = record
        self._allow = allow
        self._pauses = pauses
        self._calls = (metrics or ControlMetrics()).webhook_calls
        self._log = structlog.get_logger("webhooks")
        self._seen: dict[str, int] = {}
        self._waiting: Counter[str] = Counter()
        self._all = asyncio.Semaphore(AT_ONCE)
        self._of: dict[str, asyncio.Semaphore] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until it is cancelled; calls that are under way are, too."""
        try:
            while True:
                try:
                    await self.look()
                except RecordUnavailableError:
                    pass  # what is told later is told
                except Exception:
                    self._log.exception("webhooks could not be told")
                await asyncio.sleep(INTERVAL)
        finally:
            for each in self._tasks:
                each.cancel()

    async def look(self) -> None:
        """Tells what is new, of all tenants that have webhooks."""
        async with self._record.look() as tx:
            if await _newest(tx) == self._seen:
                return
        async with self._record.change() as tx:
            found, calls = await self._claim(tx)
        self._seen = found
        for tenant, each in calls:
            self._begin(tenant, each)

    async def _claim(self, tx: Transaction) -> tuple[dict[str, int], list[tuple[str, Call]]]:
        """INVARIANT: told numbers move with the reading of the rows, so of two control planes one gets a row."""
        make = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
        await tx.execute(make(instance).values(name=_TOLD, value="{}").on_conflict_do_nothing())
        await tx.execute(select(instance.c.name).where(instance.c.name == _TOLD).with_for_update())
        told: dict[str, int] = await value_of(tx, _TOLD)
        found = await _newest(tx)  # after the lock: what another control plane told is not new
        calls: list[tuple[str, Call]] = []
        for tenant, number in found.items():
            after = told.get(tenant)
            if after is None:  # its first webhook hears of what came after it was made
                made = (audit.c.tenant == tenant) & (audit.c.action == "webhook.create")
                after = await tx.scalar(select(func.max(audit.c.number)).where(made)) or number
            if after < number:
                calls += await self._calls_of(tx, tenant, after, number)
        await put_value(tx, _TOLD, {name: max(number, told.get(name, 0)) for name, number in found.items()})
        return found, calls

    async def _calls_of(self, tx: Transaction, tenant: str, after: int, last: int) -> list[tuple[str, Call]]:
        hooks = (await tx.execute(select(webhooks).where(webhooks.c.tenant == tenant))).all()
        rows = await tx.execute(
            select(audit)
            .where(audit.c.tenant == tenant, audit.c.number > after, audit.c.number <= last)
            .where(audit.c.action.in_(tuple(EVENTS)))
            .order_by(audit.c.number)
        )
        calls = []
        for row in rows:
            event, id, body = EVENTS[row.action], f"{tenant}-{row.number}", _body(row)
            calls += [
                (tenant, Call(hook.url, hook.secret, event, id, body))
                for hook in hooks
                if event in msgspec.json.decode(hook.events)
            ]
        return calls

    def _begin(self, tenant: str, what: Call) -> None:
        if self._waiting[tenant] >= WAITING:
            self._log.warning("a webhook is not called: too many wait", tenant=tenant, delivery=what.id)
            self._calls.labels("let_go").inc()
            return
        self._waiting[tenant] += 1
        task = asyncio.create_task(self._deliver(tenant, what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, tenant: str, what: Call) -> None:
        try:
            for pause in (*self._pauses, None):
                try:
                    async with self._of.setdefault(tenant, asyncio.Semaphore(OF_A_TENANT)), self._all:
                        await call(what, self._allow)
                    self._calls.labels("told").inc()
                    return
                except CallError as error:
                    if pause is None or not error.again:
                        self._log.warning("a webhook was not told", tenant=tenant, delivery=what.id, why=str(error))
                        self._calls.labels("failed").inc()
                        return
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
        finally:
            self._waiting[tenant] -= 1
            if not self._waiting[tenant]:
                del self._waiting[tenant]
                self._of.pop(tenant, None)


async def _newest(tx: Transaction) -> dict[str, int]:
    """The number of the last audit row of each tenant that has webhooks."""
    some = select(tenants.c.name, tenants.c.audit_number).where(tenants.c.name.in_(select(webhooks.c.tenant)))
    return {row.name: row.audit_number for row in await tx.execute(some)}


def _body(row: Any) -> bytes:
    said = {
        "event": EVENTS[row.action],
        "id": f"{row.tenant}-{row.number}",
        "at": moment_of(row.at),
        "tenant": row.tenant,
        "action": row.action,
        "target": row.target,
        "actor": row.actor,
        "details": msgspec.Raw(row.details.encode()),
    }
    return msgspec.json.encode(said)
