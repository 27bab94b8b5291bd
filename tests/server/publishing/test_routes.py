"""Over HTTP: edit, draft, publish, roll back, kill, hold; what is refused, and how it says so."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.control.publishing import stale
from server.control.publishing.publish import Desk
from tests.server.publishing.conftest import Bench, Client
from tests.server.publishing.flags import switch, text
from tests.server.publishing.settings import set_settings
from tests.server.record.rows import PRODUCTION

PROJECT = "/tenants/shop/projects/web"
HERE = f"{PROJECT}/environments/production"
CHECKOUT = f"{PROJECT}/flags/checkout"
ClientOf = Callable[..., Client]


async def begin(ann: Client, **flags: Any) -> None:
    for key, body in (flags or {"checkout": text()}).items():
        assert (await ann.ask("PUT", f"{PROJECT}/flags/{key}", body))[0] == 201
    assert (await ann.ask("POST", f"{HERE}/publish", match=0))[0] == 200


def test_a_flag_from_its_first_edit_to_its_rollback(bench: Bench) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann = client_of()
        status, saved, etag = await ann.ask("PUT", CHECKOUT, text("one"))
        assert (status, saved["key"], str(saved["revision"])) == (201, "checkout", etag)
        status, body, again = await ann.ask("GET", CHECKOUT)
        assert (status, body, again) == (200, text("one"), etag)
        status, done, version = await ann.ask("POST", f"{HERE}/publish", {"message": "first"}, match=0)
        assert (status, done["version"], done["live"], version) == (200, 1, True, "1")
        assert [each["what"] for each in done["changes"]] == ["added"]

        assert (await ann.ask("PUT", CHECKOUT, text("two")))[0] == 428
        status, problem, _ = await ann.ask("PUT", CHECKOUT, text("two"), match=7777)
        assert (status, problem["current"]) == (412, text("one"))
        assert (await ann.ask("PUT", CHECKOUT, text("two"), match=etag))[0] == 200
        assert (await ann.ask("POST", f"{HERE}/publish"))[0] == 428
        assert (await ann.ask("POST", f"{HERE}/publish", match=0))[0] == 412
        assert (await ann.ask("POST", f"{HERE}/publish", match=1))[2] == "2"

        status, done, _ = await ann.ask("POST", f"{HERE}/rollback", {"version": 1}, match=2)
        assert (status, done["version"]) == (200, 3)
        assert done["changes"][0]["members"] == [{"place": "variants.a", "before": "two", "after": "one"}]
        assert (await ann.ask("GET", CHECKOUT))[1]["variants"]["a"] == "one"
        _, page, _ = await ann.ask("GET", f"{HERE}/versions?limit=2")
        assert [(each["version"], each["kind"], each["live"]) for each in page["items"]] == [
            (3, "rollback", True),
            (2, "publish", False),
        ]
        _, page, _ = await ann.ask("GET", f"{HERE}/versions?limit=2&after={page['next']}")
        assert ([each["message"] for each in page["items"]], page["next"]) == (["first"], None)
        assert (await ann.ask("GET", f"{HERE}/versions/1/document"))[1]["flags"] == {"checkout": text("one")}
        _, found, _ = await ann.ask("GET", f"{HERE}/diff?from=1&to=2")
        assert [each["key"] for each in found["changes"]] == ["checkout"]
        _, found, _ = await ann.ask("POST", f"{HERE}/versions/2/evaluate", {"contexts": [{}]})
        assert found["answers"][0]["checkout"] == {"value": "two", "variant": "a", "reason": "STATIC"}
        _, found, _ = await ann.ask("POST", f"{HERE}/versions/2/explain", {"flag": "checkout", "context": {}})
        assert found["value"] == "two"

    bench.serve(steps)


def test_a_hundred_puts_with_one_etag(bench: Bench) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann = client_of()
        _, _, etag = await ann.ask("PUT", CHECKOUT, text())
        bodies = [text(f"by {number}") for number in range(100)]
        statuses = [
            status
            for status, _, _ in await asyncio.gather(*(ann.ask("PUT", CHECKOUT, each, match=etag) for each in bodies))
        ]
        assert (statuses.count(200), statuses.count(412)) == (1, 99)
        winner = bodies[statuses.index(200)]
        assert (await ann.ask("GET", CHECKOUT))[1] == winner

    bench.serve(steps)


def test_a_hundred_publishers_of_one_version(bench: Bench) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann = client_of()
        await begin(ann)
        asked = await asyncio.gather(*(ann.ask("POST", f"{HERE}/publish", match=1) for _ in range(20)))
        assert sorted(status for status, _, _ in asked) == [200] + [412] * 19
        _, page, _ = await ann.ask("GET", f"{HERE}/versions")
        assert [each["version"] for each in page["items"]] == [2, 1]

    bench.serve(steps)


def test_the_same_publish_again_is_one_version(bench: Bench) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann = client_of()
        await begin(ann)
        first = await ann.ask("POST", f"{HERE}/publish", match=1, Idempotency_Key="once")
        second = await ann.ask("POST", f"{HERE}/publish", match=1, Idempotency_Key="once")
        assert (first, first[1]["version"]) == (second, 2)
        first = await ann.ask("POST", f"{HERE}/flags/checkout/kill", Idempotency_Key="off")
        assert (await ann.ask("POST", f"{HERE}/flags/checkout/kill", Idempotency_Key="off"))[2] == first[2] == "3"

    bench.serve(steps)


def test_what_is_wrong_has_its_place(bench: Bench) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann = client_of()
        status, problem, _ = await ann.ask("PUT", CHECKOUT, text(fallthrough="nwe"))
        assert (status, problem["type"]) == (422, "urn:burgee:problem:does-not-compile")
        (found,) = [each for each in problem["diagnostics"] if each["severity"] == "error"]
        assert (found["code"], found["place"]) == ("B301", "flags.checkout.fallthrough")
        assert (await ann.ask("GET", CHECKOUT))[0] == 404
        # What a flag names may come later; the draft is where it has to be there.
        assert (await ann.ask("PUT", CHECKOUT, text(rules=[{"when": 'segment("staff")', "serve": "b"}])))[0] == 201
        for path in ("publish", "drafts"):
            status, problem, _ = await ann.ask("POST", f"{HERE}/{path}", match=0)
            assert (status, problem["diagnostics"][0]["code"]) == (422, "B302")
        assert (await ann.ask("PUT", f"{PROJECT}/segments/staff", {"include": ["u-1"]}))[0] == 201
        assert (await ann.ask("POST", f"{HERE}/publish", match=0))[0] == 200
        for body in ({"type": "boolean"}, {"type": "nothing"}, {}, {"variants": 1}):
            assert (await ann.ask("PUT", f"{PROJECT}/flags/odd", body))[0] == 422
        assert (await ann.ask("PUT", f"{PROJECT}/flags/odd name", switch()))[0] == 404
        assert (await ann.ask("POST", f"{HERE}/rollback", {"version": 9}, match=1))[0] == 404
        assert (await ann.ask("POST", f"{HERE}/flags/nothing/kill"))[0] == 404
        assert (await ann.ask("POST", f"{PROJECT}/environments/nowhere/publish", match=0))[0] == 404

    bench.serve(steps)


def test_drafts_over_http(bench: Bench) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann, bob = client_of("ann"), client_of("bob")
        await set_settings(desk, approvals=1)
        assert (await ann.ask("PUT", CHECKOUT, text()))[0] == 201
        status, problem, _ = await ann.ask("POST", f"{HERE}/publish", match=0)
        assert (status, problem["type"]) == (409, "urn:burgee:problem:needs-approval")
        status, draft, etag = await ann.ask("POST", f"{HERE}/drafts", {"message": "please"})
        one = f"{HERE}/drafts/{draft['id']}"
        assert (status, draft["state"], draft["base"]) == (201, "open", 0)
        assert (await ann.ask("POST", f"{one}/approve", match=etag))[0] == 409
        assert (await bob.ask("POST", f"{one}/approve"))[0] == 428
        assert (await ann.ask("POST", f"{one}/publish", match=etag))[0] == 409
        status, draft, etag = await bob.ask("POST", f"{one}/approve", match=etag)
        assert (status, len(draft["approvals"])) == (200, 1)
        at = "2000-01-01T00:00:00Z"
        assert (await ann.ask("POST", f"{one}/schedule", {"publishAt": at}, match=etag))[0] == 409
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        status, draft, etag = await ann.ask("POST", f"{one}/schedule", {"publishAt": at}, match=etag)
        assert (status, draft["state"], draft["publishAt"]) == (200, "scheduled", at)
        status, done, _ = await ann.ask("POST", f"{one}/publish", match=etag)
        assert (status, done["version"]) == (200, 1)
        _, page, _ = await ann.ask("GET", f"{HERE}/drafts?state=published")
        assert [each["id"] for each in page["items"]] == [draft["id"]]
        # A kill asks nobody.
        assert (await ann.ask("POST", f"{HERE}/flags/checkout/kill"))[1]["version"] == 2

    bench.serve(steps)


def test_a_kill_gives_nobody_what_others_have_to_approve(bench: Bench) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann, admin = client_of(), client_of(role="admin")
        await begin(ann, checkout=text(enabled=False))
        kill = f"{HERE}/flags/checkout/kill"
        assert (await ann.ask("POST", kill, {"variant": "b"}))[0] == 200
        await set_settings(desk, approvals=1)
        status, problem, _ = await ann.ask("POST", kill, {"variant": "a"})
        assert (status, problem["type"]) == (409, "urn:burgee:problem:needs-approval")
        assert (await ann.ask("POST", kill))[0] == 200
        assert (await admin.ask("POST", kill, {"variant": "a"}))[0] == 200

    bench.serve(steps)


def test_the_impact_threshold_is_overridden_by_admins_and_audited(bench: Bench) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann, admin = client_of(), client_of(role="admin")
        await begin(ann)
        await set_settings(desk, impactThreshold=0.1)
        _, _, etag = await ann.ask("GET", CHECKOUT)
        assert (await ann.ask("PUT", CHECKOUT, text("two"), match=etag))[0] == 200
        wanted = {"contexts": [{"targetingKey": "u"}]}
        assert (await ann.ask("POST", f"{HERE}/publish", wanted, match=1))[0] == 409
        wanted["overrideImpact"] = True  # type: ignore[assignment]
        assert (await ann.ask("POST", f"{HERE}/publish", wanted, match=1))[0] == 403
        assert (await admin.ask("POST", f"{HERE}/publish", wanted, match=1))[0] == 200
        _, page, _ = await admin.ask("GET", "/tenants/shop/audit")
        (row,) = [each for each in page["items"] if each["action"] == "environment.override-impact"]
        assert row["details"] == {"version": 2, "flag": "checkout", "share": 1.0}

    bench.serve(steps)


def test_a_working_copy_that_was_edited_meanwhile_is_not_published(bench: Bench) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann = client_of()
        await begin(ann)
        _, _, seen = await ann.ask("GET", f"{PROJECT}/document")
        assert (await ann.ask("PUT", f"{PROJECT}/flags/other", switch()))[0] == 201
        for path in ("publish", "drafts"):
            status, problem, _ = await ann.ask("POST", f"{HERE}/{path}", {"revision": int(seen)}, match=1)
            assert (status, problem["current"]) == (412, {"revision": int(seen) + 1})
        assert (await ann.ask("POST", f"{HERE}/publish", {"revision": int(seen) + 1}, match=1))[0] == 200

    bench.serve(steps)


def test_the_document_is_replaced_as_a_whole(bench: Bench) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann = client_of()
        await begin(ann, checkout=text(), gone=switch())
        _, document, etag = await ann.ask("GET", f"{PROJECT}/document")
        assert document["environments"] == ["production", "staging"]
        wanted = {"flags": {"checkout": text("two"), "fresh": switch()}, "segments": {"staff": {"include": ["u"]}}}
        status, plan, _ = await ann.ask("PUT", f"{PROJECT}/document?dryRun=true", wanted)
        changes = [(each["kind"], each["key"], each["what"]) for each in plan["changes"]]
        assert (status, changes) == (
            200,
            [
                ("flag", "checkout", "changed"),
                ("flag", "fresh", "added"),
                ("flag", "gone", "removed"),
                ("segment", "staff", "added"),
            ],
        )
        assert (await ann.ask("GET", f"{PROJECT}/document"))[1:] == (document, etag)
        assert (await ann.ask("PUT", f"{PROJECT}/document", wanted))[0] == 428
        status, done, fresh = await ann.ask("PUT", f"{PROJECT}/document", wanted, match=etag)
        assert (status, done["changes"]) == (200, plan["changes"])
        assert (await ann.ask("PUT", f"{PROJECT}/document", wanted, match=etag))[0] == 412
        assert (await ann.ask("GET", f"{PROJECT}/document"))[1]["flags"] == wanted["flags"]
        odd = {"flags": {}, "environments": ["nowhere"]}
        assert (await ann.ask("PUT", f"{PROJECT}/document", odd, match=fresh))[0] == 422
        broken = {"flags": {"checkout": text(fallthrough="nwe")}}
        assert (await ann.ask("PUT", f"{PROJECT}/document", broken, match=fresh))[0] == 422

    bench.serve(steps)


def test_promotion_over_http(bench: Bench) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann = client_of()
        await begin(ann)
        _, _, etag = await ann.ask("GET", CHECKOUT)
        tried = text(environments={"staging": {"fallthrough": "b"}})
        assert (await ann.ask("PUT", CHECKOUT, tried, match=etag))[0] == 200
        staging = f"{PROJECT}/environments/staging"
        assert (await ann.ask("POST", f"{staging}/publish", match=0))[0] == 200
        wanted = {"from": "staging", "flags": ["checkout"]}
        status, plan, _ = await ann.ask("POST", f"{HERE}/promote?dryRun=true", wanted)
        assert (status, plan["version"], len(plan["changes"])) == (200, 1, 1)
        assert (await ann.ask("POST", f"{HERE}/promote", wanted))[0] == 428
        status, done, _ = await ann.ask("POST", f"{HERE}/promote", wanted, match=1)
        assert (status, done["version"], done["changes"]) == (200, 2, plan["changes"])
        status, _, _ = await ann.ask("POST", f"{HERE}/promote", {"from": "staging", "flags": ["no"]}, match=2)
        assert status == 404

    bench.serve(steps)


@pytest.mark.parametrize("level", ["", "/tenants/shop", PROJECT, HERE])
def test_holding_over_http(bench: Bench, level: str) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann, admin, owner = client_of(), client_of(role="admin"), client_of(role="owner")
        await begin(ann)
        assert (await ann.ask("POST", f"{level}/pause"))[0] == 403
        assert (await admin.ask("POST", f"{level}/pause"))[0] == (200 if level else 403)
        assert (await owner.ask("POST", f"{level}/pause"))[:2] == (200, {"paused": True, "projects": 0})
        assert (await ann.ask("POST", f"{HERE}/publish", match=1))[1]["live"] is False
        changed = desk.feed.listen()
        heard = asyncio.ensure_future(anext(changed))
        await asyncio.sleep(0)
        assert (await owner.ask("POST", f"{level}/resume"))[1] == {"paused": False, "projects": 1}
        assert (await asyncio.wait_for(heard, 30)).project == "shop/web"
        await changed.aclose()  # type: ignore[attr-defined]
        status, pinned, _ = await admin.ask("POST", f"{HERE}/pin")
        assert (status, pinned) == (200, {"pinnedVersion": 2, "liveVersion": 2})
        assert (await admin.ask("POST", f"{HERE}/pin", {"version": 1}))[0] == 409
        assert (await admin.ask("POST", f"{HERE}/unpin"))[1]["pinnedVersion"] is None

    bench.serve(steps)


def test_a_viewer_changes_nothing_and_another_tenants_key_sees_nothing(bench: Bench) -> None:
    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann, viewer = client_of(), client_of(role="viewer")
        await begin(ann)
        assert (await viewer.ask("GET", CHECKOUT))[0] == 200
        for method, path, body in (
            ("PUT", CHECKOUT, switch()),
            ("DELETE", CHECKOUT, None),
            ("POST", f"{HERE}/publish", None),
            ("POST", f"{HERE}/flags/checkout/kill", None),
            ("POST", f"{HERE}/drafts", None),
        ):
            assert (await viewer.ask(method, path, body, match=1))[0] == 403
        elsewhere = "/tenants/bank/projects/app"
        for path in ("/flags", "/document", "/environments/production/versions", "/environments/production/drafts"):
            assert (await ann.ask("GET", elsewhere + path))[0] == 404

    bench.serve(steps)


def test_flags_that_nobody_evaluates(bench: Bench, tmp_path: Path) -> None:
    counts, later = tmp_path / "evaluations.db", time.time() + 60 * 86_400
    with sqlite3.connect(counts) as connection:
        connection.execute("CREATE TABLE evaluations (environment TEXT, flag TEXT, last_at INTEGER)")
        rows = [(str(PRODUCTION), "used", later), (str(PRODUCTION), "old", later - 40 * 86_400)]
        connection.executemany("INSERT INTO evaluations VALUES (?, ?, ?)", rows)
    connection.close()

    async def steps(desk: Desk, client_of: ClientOf) -> None:
        ann = client_of()
        await begin(ann, used=switch(), old=switch(), never=switch())
        _, page, _ = await ann.ask("GET", f"{HERE}/stale-flags?days=30")
        assert page["items"] == []  # they are new
        seen = await stale.last_evaluations(counts, PRODUCTION)
        for days, unseen in ((30, ["never", "old"]), (55, ["never"]), (61, [])):
            async with desk.record.look() as tx:
                found = await stale.stale_flags(tx, PRODUCTION, seen, desk.kept, days=days, now=later)
            assert [each.flag for each in found] == unseen

    bench.serve(steps)
