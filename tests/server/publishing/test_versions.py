"""What becomes a version: dense, in order, equal in content where it was rolled back, off where it was killed."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from engine import Snapshot
from server.control.publishing.documents import resolved
from server.control.publishing.history import changes_between, document_at, evaluate_at, explain_at
from server.control.publishing.kill import prepare_kill
from server.control.publishing.promote import prepare_promote
from server.control.publishing.publish import Desk, commit_alone, prepare_publish
from server.control.publishing.refusals import DoesNotCompileError
from server.control.publishing.rollback import prepare_rollback
from server.record.definitions import get_definition
from server.record.history import Version, environment_row, list_versions
from server.record.versions import StaleError, snapshot_of
from server.types import EnvironmentId
from tests.server.publishing.conftest import Bench
from tests.server.publishing.flags import edit, publish, switch, text, thing
from tests.server.record.rows import ALICE, PRODUCTION, STAGING


async def versions_of(desk: Desk, environment: EnvironmentId = PRODUCTION) -> list[Version]:
    async with desk.record.look() as tx:
        return await list_versions(tx, environment)


async def newest_of(desk: Desk, environment: EnvironmentId = PRODUCTION) -> Snapshot:
    async with desk.record.look() as tx:
        found = (await list_versions(tx, environment, limit=1))[0]
        blob = await snapshot_of(tx, environment.project_id, found.snapshot)
    assert blob is not None
    return Snapshot.from_bytes(blob)


async def working(desk: Desk, key: str) -> dict[str, Any]:
    async with desk.record.look() as tx:
        row = await get_definition(tx, PRODUCTION.project_id, "flag", key)
    assert row is not None
    body: dict[str, Any] = msgspec.json.decode(row.body)
    return body


def test_versions_are_dense_however_many_publish_at_once(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text())

        async def publisher() -> int:
            done = 0
            for _ in range(6):
                try:
                    await publish(desk)
                    done += 1
                except StaleError:
                    await asyncio.sleep(0)
            return done

        done = sum(await asyncio.gather(*(publisher() for _ in range(4))))
        versions = await versions_of(desk)
        assert [each.number for each in versions] == list(range(done, 0, -1))
        assert (await newest_of(desk)).version == done

    bench.run(steps)


def test_a_rollback_is_a_higher_version_with_the_old_content_and_stays(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text("one"))
        await edit(desk, "gone", switch())
        await publish(desk)
        await publish(desk, STAGING)
        await edit(desk, "checkout", text("two", rules=[{"when": "beta", "serve": "b"}]))
        await edit(desk, "fresh", switch())
        await publish(desk)
        unpublished = {"production": {"enabled": False}}
        await edit(desk, "gone", switch(environments=unpublished))  # and not published

        done = await commit_alone(desk, await prepare_rollback(desk, PRODUCTION, to=1, expected=2), by=ALICE)
        versions = await versions_of(desk)
        assert done.version == 3
        assert versions[0].document == versions[2].document
        assert (versions[0].kind, versions[0].origin) == ("rollback", "1")
        assert (await newest_of(desk)).evaluate("checkout", {"beta": True}).value == "one"

        # What was rolled back stays so with the next publish, and what was edited meanwhile is in it.
        await publish(desk)
        snapshot = await newest_of(desk)
        assert snapshot.evaluate("checkout", {"beta": True}).value == "one"
        assert snapshot.evaluate("gone", {}).reason == "DISABLED"
        assert snapshot.evaluate("fresh", {}).reason == "DISABLED"

    bench.run(steps)


@pytest.mark.parametrize("kind", ["boolean", "string", "object"])
def test_a_kill_turns_off_every_kind_of_flag_and_those_that_wait_for_it(bench: Bench, kind: str) -> None:
    make: Any = {"boolean": switch, "string": text, "object": thing}[kind]
    variant = {"boolean": "on", "string": "a", "object": "x"}[kind]
    off = {"boolean": False, "string": "other", "object": None}[kind]

    async def steps(desk: Desk) -> None:
        await edit(desk, "base", make())
        await edit(desk, "other", switch(prerequisites=[{"flag": "base", "variants": [variant]}]))
        await publish(desk)
        await edit(desk, "base", make(rules=[{"when": "beta", "serve": variant}]))  # under way
        await edit(desk, "other", switch(fallthrough="off"))

        await commit_alone(desk, await prepare_kill(desk, PRODUCTION, "base"), by=ALICE)
        snapshot = await newest_of(desk)
        killed = snapshot.evaluate("base", {})
        assert (killed.value, killed.reason) == (off, "DISABLED")
        assert snapshot.evaluate("other", {}).value is False  # by its prerequisite, not by the edit
        assert dict(snapshot.evaluate("other", {}).metadata)["cause"] == "PREREQUISITE_FAILED"

        body = await working(desk, "base")
        assert body["rules"] == [{"when": "beta", "serve": variant}]  # what is under way is as it was
        assert resolved("flag", body, "production")["enabled"] is False
        assert resolved("flag", body, "staging").get("enabled", True) is True
        await publish(desk)
        assert (await newest_of(desk)).evaluate("base", {}).reason == "DISABLED"

    bench.run(steps)


def test_a_kill_needs_the_compiler(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "base", switch())
        await publish(desk)
        with pytest.raises(DoesNotCompileError) as refused:
            await prepare_kill(desk, PRODUCTION, "base", variant="nowhere")
        assert [each.code for each in refused.value.diagnostics if each.severity == "error"] == ["B301"]
        with pytest.raises(LookupError):
            await prepare_kill(desk, PRODUCTION, "never-was")
        assert len(await versions_of(desk)) == 1

    bench.run(steps)


def test_a_promotion_brings_what_is_published_there_and_leaves_what_is_edited_here(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text("one"))
        await edit(desk, "banner", text("quiet"))
        await publish(desk)
        tried = {"staging": {"rules": [{"when": "beta", "serve": "b"}]}}
        await edit(desk, "checkout", text("one", environments=tried))
        await edit(desk, "fresh", switch(environments={"staging": {"enabled": True}}, enabled=False))
        await publish(desk, STAGING)
        await edit(desk, "banner", text("LOUD"))  # not published anywhere
        here = {**tried, "production": {"fallthrough": "b"}}
        await edit(desk, "checkout", text("one", environments=here))  # nor this

        prepared = await prepare_promote(
            desk, PRODUCTION, source="staging", flags=("checkout", "fresh"), expected=1, message="tried"
        )
        assert [(each.key, each.what) for each in prepared.frozen.changes] == [
            ("checkout", "changed"),
            ("fresh", "added"),
        ]
        await commit_alone(desk, prepared, by=ALICE)
        snapshot = await newest_of(desk)
        assert snapshot.evaluate("checkout", {"beta": True}).value == "other"
        assert snapshot.evaluate("checkout", {}).value == "one"
        assert snapshot.evaluate("fresh", {}).value is True
        assert snapshot.evaluate("banner", {}).value == "quiet"

        body = await working(desk, "checkout")
        production = resolved("flag", body, "production")
        assert (production["rules"], production["fallthrough"]) == ([{"when": "beta", "serve": "b"}], "b")
        assert (await working(desk, "banner"))["variants"]["a"] == "LOUD"
        await publish(desk)
        assert (await newest_of(desk)).evaluate("checkout", {"beta": True}).value == "other"

    bench.run(steps)


def test_a_document_over_a_cap_takes_no_version(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        for number in range(5):
            rules = [{"when": f"a{number}_{each} == 1", "serve": "a"} for each in range(450)]
            await edit(desk, f"wide-{number}", text(rules=rules))
        with pytest.raises(DoesNotCompileError) as refused:
            await publish(desk)
        assert [each.code for each in refused.value.diagnostics if each.severity == "error"] == ["B508"]
        assert await versions_of(desk) == []

    bench.run(steps)


def test_history_can_be_read_compared_and_asked(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text("one"))
        await publish(desk)
        await edit(desk, "checkout", text("two", environments={"staging": {"enabled": False}}))
        await edit(desk, "fresh", switch())
        await publish(desk)
        async with desk.record.look() as tx:
            first = msgspec.json.decode(await document_at(tx, PRODUCTION, 1))
            changes = await changes_between(tx, PRODUCTION, 1, 2)
            nothing = await changes_between(tx, PRODUCTION, 2, 2)
            assert (await environment_row(tx, PRODUCTION)).live_version == 2
            with pytest.raises(LookupError):
                await document_at(tx, PRODUCTION, 3)
        assert first["flags"]["checkout"]["variants"]["a"] == "one"
        assert [(each.key, each.what, [m.place for m in each.members]) for each in changes] == [
            ("checkout", "changed", ["variants.a"]),  # what staging makes of it is nothing to production
            ("fresh", "added", []),
        ]
        assert nothing == ()
        answers = await evaluate_at(desk, PRODUCTION, 1, [{}, {"targetingKey": "u"}], None)
        assert [each["checkout"].value for each in answers] == ["one", "one"]
        assert (await evaluate_at(desk, PRODUCTION, 1, [{}], ["fresh"]))[0]["fresh"].error_code == "FLAG_NOT_FOUND"
        assert (await explain_at(desk, PRODUCTION, 2, "checkout", {}))["value"] == "two"

    bench.run(steps)


def test_who_is_late_is_told(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text())
        late = await prepare_publish(desk, PRODUCTION, expected=0)
        await publish(desk)
        with pytest.raises(StaleError) as stale:
            await commit_alone(desk, late, by=ALICE)
        assert stale.value.newest == 1
        with pytest.raises(StaleError):
            await prepare_publish(desk, PRODUCTION, expected=0)

    bench.run(steps)
