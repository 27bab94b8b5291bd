"""Which contexts a draft flips, and the threshold that blocks it."""

from __future__ import annotations

import pytest

from rules_compiler import compile_flags
from server.control.publishing.documents import packed
from server.control.publishing.impact import ImpactError, RecentContexts, impact_of
from server.control.publishing.publish import Desk, commit_alone, prepare_publish
from tests.server.publishing.conftest import OTHER, Bench
from tests.server.publishing.flags import edit, publish, switch, text
from tests.server.publishing.settings import set_settings
from tests.server.record.rows import ALICE, PRODUCTION, STAGING

GERMANS = [{"targetingKey": f"u-{each}", "country": "DE" if each < 30 else "FR"} for each in range(100)]
IN_GERMANY = [{"when": 'country == "DE"', "serve": "b"}]


def compiled(**flags: object) -> bytes:
    return compile_flags(packed({"flags": flags}))


def test_flips_are_counted_by_flag() -> None:
    before = compiled(checkout=text(), gone=switch(), same=switch())
    after = compiled(checkout=text(rules=IN_GERMANY), same=switch(), fresh=switch())
    found = impact_of(before, after, GERMANS)
    assert [(each.flag, each.flips, each.share) for each in found.flags] == [("gone", 100, 1.0), ("checkout", 30, 0.3)]
    assert impact_of(None, after, GERMANS).flags == ()
    assert impact_of(before, before, GERMANS).flags == ()


def test_the_threshold_blocks_unless_it_is_overridden(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await set_settings(desk, impactThreshold=0.25)
        await edit(desk, "checkout", text())
        await publish(desk)
        await edit(desk, "checkout", text(rules=IN_GERMANY))
        with pytest.raises(ImpactError) as blocked:
            await prepare_publish(desk, PRODUCTION, expected=1, contexts=GERMANS)
        assert blocked.value.impact.flags[0].flips == 30
        few = await prepare_publish(desk, PRODUCTION, expected=1, contexts=GERMANS[10:])
        assert round(few.impact.largest, 3) == round(20 / 90, 3)
        meant = await prepare_publish(desk, PRODUCTION, expected=1, contexts=GERMANS, override_impact=True)
        assert (await commit_alone(desk, meant, by=ALICE)).impact.largest == 0.3

    bench.run(steps)


def test_contexts_are_kept_where_an_environment_wants_it(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "checkout", text())
        await publish(desk)
        await edit(desk, "checkout", text(rules=IN_GERMANY))
        for each in GERMANS:
            desk.contexts.add(PRODUCTION, each)
        assert (await prepare_publish(desk, PRODUCTION, expected=1)).impact.contexts == 0
        await set_settings(desk, sampleContexts=True)
        assert (await prepare_publish(desk, PRODUCTION, expected=1)).impact.largest == 0.3
        # What a request brings is measured besides, not instead.
        french = GERMANS[30:]
        assert (await prepare_publish(desk, PRODUCTION, expected=1, contexts=french)).impact.largest == 0.3

    bench.run(steps)


def test_what_is_kept_is_bounded_and_names_nobody() -> None:
    recent = RecentContexts(each=3, environments=2)
    for number in range(10):
        recent.add(PRODUCTION, {"targetingKey": f"ann-{number}", "n": number})
    assert [each["n"] for each in recent.of(PRODUCTION)] == [7, 8, 9]
    assert "ann" not in str(recent.of(PRODUCTION))
    recent.add(STAGING, {})
    recent.add(OTHER, {})
    assert recent.of(PRODUCTION) == ()
