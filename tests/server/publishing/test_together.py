"""Editors, publishers of two environments, kills and holds at once: nobody waits for each other in a ring."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from server.control.publishing.holding import Scope, set_paused
from server.control.publishing.kill import prepare_kill
from server.control.publishing.publish import Desk, commit_alone
from server.record.database import RecordUnavailableError
from server.record.history import list_versions
from server.record.versions import StaleError
from server.types import EnvironmentId
from tests.server.publishing.conftest import Bench
from tests.server.publishing.flags import edit, publish, text
from tests.server.record.rows import ALICE, PRODUCTION, STAGING

ROUNDS = 6


def test_no_deadlock_and_no_gap(bench: Bench) -> None:
    async def steps(desk: Desk) -> list[str]:
        for number in range(3):
            await edit(desk, f"flag-{number}", text())
        await publish(desk)
        await publish(desk, STAGING)
        refused: list[str] = []

        async def again(work: Callable[[int], Awaitable[object]]) -> None:
            for number in range(ROUNDS):
                try:
                    await work(number)
                except StaleError:
                    pass
                except RecordUnavailableError as error:  # a machine that is busy may be late, and may not be in a ring
                    refused.append(str(error))

        async def hold(number: int) -> None:
            async with desk.record.change() as tx:
                await set_paused(tx, Scope("shop", "web"), number % 2 == 0, by=ALICE)

        async def kill(number: int) -> None:
            prepared = await prepare_kill(desk, PRODUCTION, f"flag-{number % 3}")
            await commit_alone(desk, prepared, by=ALICE)

        async def one_edit(number: int) -> None:
            await edit(desk, f"flag-{number % 3}", text(f"{number}"))

        await asyncio.gather(
            *(again(one_edit) for _ in range(3)),
            *(again(lambda _: publish(desk)) for _ in range(2)),
            *(again(lambda _: publish(desk, STAGING)) for _ in range(2)),
            again(kill),
            again(hold),
        )
        for environment in (PRODUCTION, STAGING):
            await _check_dense(desk, environment)
        return refused

    assert [each for each in bench.run(steps) if "deadlock" in each] == []


async def _check_dense(desk: Desk, environment: EnvironmentId) -> None:
    async with desk.record.look() as tx:
        numbers = [each.number for each in await list_versions(tx, environment)]
    assert numbers == list(range(len(numbers), 0, -1))
    assert len(numbers) > 1
