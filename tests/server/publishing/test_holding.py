"""What is paused or pinned stays, versions go on, and a resume goes to the newest: for every scope, and all of them."""

from __future__ import annotations

import itertools

import pytest

from server.control.publishing.holding import Scope, pin, set_paused
from server.control.publishing.publish import Desk
from server.control.publishing.refusals import ConflictError
from server.record.history import environment_row
from server.record.projects import number_of
from tests.server.publishing.conftest import Bench
from tests.server.publishing.flags import edit, publish, text
from tests.server.record.rows import ALICE, PRODUCTION, STAGING

SCOPES = [Scope(*PRODUCTION), Scope("shop", "web"), Scope("shop"), Scope()]


async def hold(desk: Desk, scope: Scope, paused: bool) -> list[tuple[str, int]]:
    async with desk.record.change() as tx:
        return [(str(each), number) for each, number in await set_paused(tx, scope, paused, by=ALICE)]


async def live(desk: Desk) -> tuple[int, int]:
    """What hosts are told of production, and the project's number."""
    async with desk.record.look() as tx:
        return (await environment_row(tx, PRODUCTION)).live_version, await number_of(tx, PRODUCTION.project_id)


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: scope.level)
def test_what_is_paused_stays_until_it_is_resumed(bench: Bench, scope: Scope) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text())
        await publish(desk)
        before = await live(desk)
        assert await hold(desk, scope, True) == []
        assert await hold(desk, scope, True) == []
        held = [await publish(desk) for _ in range(2)]
        assert [(each.version, each.told, each.live) for each in held] == [(2, False, False), (3, False, False)]
        assert await live(desk) == before
        assert (await publish(desk, STAGING)).told is (scope == Scope(*PRODUCTION))
        ((project, number),) = await hold(desk, scope, False)
        assert (project, await live(desk)) == ("shop/web", (3, number))
        assert await hold(desk, scope, False) == []
        assert (await publish(desk)).live

    bench.run(steps)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(SCOPES, 2)), ids=lambda scope: scope.level)
def test_what_is_paused_twice_is_resumed_twice(bench: Bench, one: Scope, other: Scope) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text())
        await publish(desk)
        await hold(desk, one, True)
        await hold(desk, other, True)
        await publish(desk)
        assert await hold(desk, one, False) == []
        assert (await live(desk))[0] == 1
        assert len(await hold(desk, other, False)) == 1
        assert (await live(desk))[0] == 2

    bench.run(steps)


def test_a_pin_holds_one_environment_and_never_goes_back(bench: Bench) -> None:
    async def pinned(desk: Desk, version: int | None) -> int:
        async with desk.record.change() as tx:
            return len(await pin(tx, PRODUCTION, version, by=ALICE))

    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text())
        await publish(desk)
        assert await pinned(desk, 1) == 0
        assert [(await publish(desk)).live for _ in range(3)] == [False] * 3
        assert (await publish(desk, STAGING)).live
        assert await pinned(desk, 3) == 1
        assert (await live(desk))[0] == 3
        with pytest.raises(ConflictError):
            await pinned(desk, 2)
        with pytest.raises(LookupError):
            await pinned(desk, 9)
        await hold(desk, Scope("shop"), True)
        assert await pinned(desk, None) == 0
        assert (await live(desk))[0] == 3
        assert len(await hold(desk, Scope("shop"), False)) == 1
        assert (await live(desk))[0] == 4

    bench.run(steps)


def test_what_is_not_there_cannot_be_held(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        for scope in (Scope("shop", "web", "nowhere"), Scope("shop", "nothing"), Scope("nobody")):
            with pytest.raises(LookupError):
                await hold(desk, scope, True)

    bench.run(steps)
