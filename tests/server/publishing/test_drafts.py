"""Drafts stand still: who approves, what a schedule does once, and what keeps a draft from being published."""

from __future__ import annotations

import asyncio
import time

import pytest

from server.control.publishing import drafting
from server.control.publishing.drafting import approve, prepare_draft, report_of, withdraw
from server.control.publishing.impact import ImpactError
from server.control.publishing.publish import Desk, RulesChangedError, commit_alone, prepare_publish
from server.control.publishing.refusals import ConflictError, DoesNotCompileError, NeedsApprovalError
from server.control.publishing.schedule import Scheduler, schedule, unschedule
from server.record.audit import Actor
from server.record.drafts import Draft, get_draft, list_drafts
from server.record.history import list_versions
from server.record.schema import open_migrated
from server.record.versions import StaleError
from tests.server.publishing.conftest import Bench
from tests.server.publishing.flags import BOB, edit, make_draft, publish, switch, text
from tests.server.publishing.settings import set_settings
from tests.server.record.rows import ALICE, PRODUCTION

CAROL = Actor("carol")


async def again(desk: Desk, draft: Draft) -> Draft:
    async with desk.record.look() as tx:
        found = await get_draft(tx, PRODUCTION, draft.id)
    assert found is not None
    return found


async def approved(desk: Desk, draft: Draft, by: Actor) -> Draft:
    async with desk.record.change() as tx:
        await approve(tx, draft, by=by)
    return await again(desk, draft)


async def kinds(desk: Desk) -> list[str]:
    async with desk.record.look() as tx:
        return [each.kind for each in await list_versions(tx, PRODUCTION)]


def test_a_draft_stands_still(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text("one"))
        draft = await make_draft(desk)
        await edit(desk, "checkout", text("two"))
        await commit_alone(desk, await prepare_draft(desk, draft), by=BOB)
        async with desk.record.look() as tx:
            version = (await list_versions(tx, PRODUCTION))[0]
        assert (version.document, version.draft, version.created_by) == (draft.document, draft.id, "bob")
        assert (await again(desk, draft)).state == "published"
        with pytest.raises(ConflictError):
            await prepare_draft(desk, await again(desk, draft))

    bench.run(steps)


def test_others_than_the_author_approve(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await set_settings(desk, approvals=2)
        await edit(desk, "checkout", text())
        with pytest.raises(NeedsApprovalError):
            await prepare_publish(desk, PRODUCTION, expected=0)
        draft = await make_draft(desk)
        with pytest.raises(ConflictError):
            await approved(desk, draft, ALICE)
        once = await approved(desk, draft, BOB)
        with pytest.raises(ConflictError):
            await approved(desk, once, BOB)
        with pytest.raises(StaleError):
            await approved(desk, draft, CAROL)  # who has not seen that bob did
        with pytest.raises(NeedsApprovalError):
            await prepare_draft(desk, once)
        twice = await approved(desk, once, CAROL)
        assert (await commit_alone(desk, await prepare_draft(desk, twice), by=ALICE)).version == 1

    bench.run(steps)


def test_a_draft_is_overtaken_or_withdrawn(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text("one"))
        late, gone = await make_draft(desk), await make_draft(desk)
        async with desk.record.change() as tx:
            await withdraw(tx, gone, by=BOB)
        with pytest.raises(ConflictError):
            await prepare_draft(desk, await again(desk, gone))
        await publish(desk)
        with pytest.raises(StaleError):
            await prepare_draft(desk, late)
        async with desk.record.look() as tx:
            assert {each.id for each in await list_drafts(tx, PRODUCTION)} == {late.id, gone.id}
            assert [each.id for each in await list_drafts(tx, PRODUCTION, states=("open",))] == [late.id]

    bench.run(steps)


def test_what_does_not_compile_is_no_draft(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text(rules=[{"when": 'segment("nobody")', "serve": "a"}]))
        with pytest.raises(DoesNotCompileError) as refused:
            await make_draft(desk)
        assert refused.value.diagnostics[0].place == "flags.checkout.rules[0].when"
        async with desk.record.look() as tx:
            assert await list_drafts(tx, PRODUCTION) == []

    bench.run(steps)


def test_a_closed_gate_lets_no_warning_through(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await set_settings(desk, lintGate="warning")
        await edit(desk, "checkout", switch(rules=[{"when": "age > 5 && age < 3", "serve": "on"}]))
        draft = await make_draft(desk)
        assert [each.code for each in report_of(draft.report).diagnostics] == ["B403"]
        with pytest.raises(DoesNotCompileError):
            await prepare_draft(desk, draft)
        with pytest.raises(DoesNotCompileError):
            await publish(desk)
        await set_settings(desk, lintGate="error")
        assert (await publish(desk)).version == 1

    bench.run(steps)


def test_what_is_scheduled_is_published_once_by_however_many(bench: Bench, database_url: str) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text())
        draft = await make_draft(desk)
        at = time.time() + 3600
        async with desk.record.change() as tx:
            await schedule(tx, draft, publish_at=at, by=ALICE)
        other = await open_migrated(database_url)
        try:
            schedulers = [Scheduler(desk), Scheduler(Desk(other, desk.compiler, desk.feed))]
            early = await asyncio.gather(*(each.publish_due(at - 1) for each in schedulers))
            due = await asyncio.gather(*(each.publish_due(at + 1) for each in schedulers))
            after = await asyncio.gather(*(each.publish_due(at + 2) for each in schedulers))
        finally:
            await other.close()
        assert (early, sum(map(len, due)), after) == ([[], []], 1, [[], []])
        assert await kinds(desk) == ["publish"]
        assert (await again(desk, draft)).state == "published"

    bench.run(steps)


def test_a_schedule_is_superseded_or_fails_and_says_so(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text("one"))
        at = time.time() + 60
        overtaken = await make_draft(desk)
        async with desk.record.change() as tx:
            await schedule(tx, overtaken, publish_at=at, by=ALICE)
        await publish(desk)
        await edit(desk, "checkout", text("two"))
        refused = await make_draft(desk)
        async with desk.record.change() as tx:
            await schedule(tx, refused, publish_at=at, by=ALICE)
        taken_off = await make_draft(desk)
        async with desk.record.change() as tx:
            await schedule(tx, taken_off, publish_at=at, by=ALICE)
        async with desk.record.change() as tx:
            await unschedule(tx, await again(desk, taken_off), by=BOB)
        await set_settings(desk, approvals=1)
        assert await Scheduler(desk).publish_due(at + 1) == []
        states = [(await again(desk, each)).state for each in (overtaken, refused, taken_off)]
        assert states == ["superseded", "failed", "open"]
        assert "an approval" in report_of((await again(desk, refused)).report).failure
        assert await kinds(desk) == ["publish"]

    bench.run(steps)


def test_settings_that_were_tightened_meanwhile_are_heeded(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text())
        for tightened in ({"approvals": 1}, {"lintGate": "warning"}, {"impactThreshold": 0.1}):
            await set_settings(desk)
            prepared = await prepare_publish(desk, PRODUCTION, expected=0)
            await set_settings(desk, **tightened)
            with pytest.raises(RulesChangedError):
                await commit_alone(desk, prepared, by=ALICE)
        assert await kinds(desk) == []

    bench.run(steps)


def test_a_schedule_does_not_go_past_the_impact_threshold(bench: Bench) -> None:
    germans = [{"targetingKey": f"u-{each}", "country": "DE"} for each in range(10)]
    at = time.time() + 60

    async def steps(desk: Desk) -> None:
        await set_settings(desk, impactThreshold=0.5, sampleContexts=True)
        await edit(desk, "checkout", text())
        await publish(desk)
        await edit(desk, "checkout", text(rules=[{"when": 'country == "DE"', "serve": "b"}]))
        known = await make_draft(desk, contexts=germans)
        with pytest.raises(ImpactError):
            async with desk.record.change() as tx:
                await schedule(tx, known, publish_at=at, by=ALICE)
        later, meant = await make_draft(desk), await make_draft(desk)
        async with desk.record.change() as tx:
            await schedule(tx, later, publish_at=at, by=ALICE)
            await schedule(tx, meant, publish_at=at + 60, override_impact=True, by=ALICE)
        for each in germans:  # seen only after it was scheduled
            desk.contexts.add(PRODUCTION, each)
        assert await Scheduler(desk).publish_due(at + 1) == []
        failed = await again(desk, later)
        assert failed.state == "failed" and "flips for 100.0%" in report_of(failed.report).failure
        assert [each.version for each in await Scheduler(desk).publish_due(at + 61)] == [2]

    bench.run(steps)


def test_drafts_that_wait_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafting, "MOST_WAITING", 2)

    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text())
        gone, _ = await make_draft(desk), await make_draft(desk)
        with pytest.raises(ConflictError):
            await make_draft(desk)
        async with desk.record.change() as tx:
            await withdraw(tx, gone, by=ALICE)
        await make_draft(desk)

    bench.run(steps)
