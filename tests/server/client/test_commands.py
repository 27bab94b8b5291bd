"""Each command that asks a control plane, at least once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.server.client.planes import Plane

FLAG = 'type: boolean\nvariants: {"on": true, "off": false}\nfallthrough: "on"\noffVariant: "off"\n'


@pytest.fixture
def web(imported: Path, tenant: str) -> str:
    return f"{tenant}/web"


def test_flags_of_the_working_copy(control: Plane, web: str, tmp_path: Path) -> None:
    file = tmp_path / "dark.yaml"
    file.write_text(FLAG)
    assert control.json("flags", "set", web, "dark", file)["made"]
    assert [each["key"] for each in control.json("flags", "list", web)] == ["banner", "checkout", "dark"]
    assert "banner" in control.burgee("flags", "list", web).stdout
    text = control.burgee("flags", "get", web, "dark").stdout
    first, _, text = text.partition("\n")
    assert first.startswith("# revision ") and text.startswith("type: boolean\n")
    revision = first.removeprefix("# revision ")
    changed = control.burgee(
        "flags", "set", web, "dark", "-", stdin=text.replace("fallthrough: 'on'", "fallthrough: 'off'")
    )
    assert changed.exit_code == 0, changed.output
    now = control.json("flags", "get", web, "dark")
    assert now["flag"]["fallthrough"] == "off" and now["revision"] > int(revision)
    # Read before that change, written after it.
    late = control.burgee("flags", "set", web, "dark", file, "--if-revision", revision)
    assert late.exit_code == 3 and "changed meanwhile" in late.stderr
    assert control.burgee("flags", "set", web, "dark", file, "--if-revision", "0").exit_code == 3
    assert control.burgee("flags", "set", web, "dark", file, "--if-revision", str(now["revision"])).exit_code == 0
    assert control.burgee("flags", "delete", web, "dark").exit_code == 0
    assert control.burgee("flags", "get", web, "dark").exit_code == 3


def test_publish_history_and_rollback(control: Plane, web: str) -> None:
    control.json("flags", "delete", web, "banner")
    published = control.burgee("publish", f"{web}/production", "-m", "without a banner")
    assert published.exit_code == 0 and f"{web}/production: version 2" in published.stderr
    assert "- banner" in published.stdout
    assert control.json("publish", f"{web}/production", "--if-version", "2")["version"] == 3
    rolled = control.burgee("rollback", f"{web}/production", "1", "-m", "it is missed")
    assert rolled.exit_code == 0 and f"{web}/production: version 4" in rolled.stderr
    history = control.json("history", f"{web}/production")
    assert [each["version"] for each in history] == [4, 3, 2, 1]
    assert "it is missed" in control.burgee("history", f"{web}/production").stdout
    assert [each["version"] for each in control.json("history", f"{web}/production", "--limit", "2")] == [4, 3]
    difference = control.burgee("history", f"{web}/production", "--diff", "2", "4")
    assert difference.exit_code == 0 and difference.stdout == "  + banner\n"


def test_nothing_to_wait_for_is_not_everywhere(control: Plane, web: str) -> None:
    """No host reports here; and where it is held, none is told."""
    for hold in ((), ("pause", f"{web}/production")):
        assert not hold or control.burgee(*hold).exit_code == 0
        done = control.burgee("publish", f"{web}/production", "--wait", "1")
        assert done.exit_code == 4 and "nothing was waited for" in done.stderr
        assert control.burgee("publish", f"{web}/production", "--wait", "1", "--json").exit_code == 4
    assert control.burgee("publish", f"{web}/production").exit_code == 0


def test_promote(control: Plane, web: str) -> None:
    dry = control.burgee("promote", web, "staging", "production", "--flag", "checkout", "--dry-run")
    assert dry.exit_code == 0 and '~ checkout\n      fallthrough: "old" -> "new"' in dry.stdout
    assert [each["version"] for each in control.json("history", f"{web}/production")] == [1]
    assert control.json("promote", web, "staging", "production", "--flag", "checkout")["version"] == 2
    assert control.burgee("promote", web, "moon", "production").exit_code == 3


def test_kill(control: Plane, web: str) -> None:
    assert control.burgee("kill", f"{web}/production", "checkout", "-m", "orders are lost").exit_code == 0
    assert control.json("flags", "get", web, "checkout")["flag"]["environments"]["production"]["enabled"] is False
    assert control.burgee("kill", f"{web}/production", "chekout").exit_code == 3


def test_pause_and_pin(control: Plane, web: str) -> None:
    def live() -> int:
        listed = control.json("environments", "list", web)
        return next(int(each["liveVersion"]) for each in listed if each["name"] == "production")

    for place in (f"{web}/production", web, web.partition("/")[0]):
        newest = live()
        assert control.burgee("pause", place).exit_code == 0
        control.json("publish", f"{web}/production")
        assert live() == newest
        assert control.burgee("resume", place).exit_code == 0
        assert live() == newest + 1
    newest = live()
    assert control.burgee("pin", f"{web}/production").exit_code == 0
    control.json("publish", f"{web}/production")
    assert live() == newest
    back = control.burgee("pin", f"{web}/production", "1")
    assert back.exit_code == 3 and "never go back (hint: roll back)" in back.stderr
    assert control.burgee("unpin", f"{web}/production").exit_code == 0
    assert live() == newest + 1


def test_drafts(control: Plane, web: str) -> None:
    control.json("flags", "delete", web, "banner")
    made = control.json("drafts", "create", f"{web}/production", "-m", "no banner")
    assert made["id"] in control.burgee("drafts", "list", f"{web}/production").stdout
    assert "- banner" in control.burgee("drafts", "show", f"{web}/production", made["id"]).stdout
    own = control.burgee("drafts", "approve", f"{web}/production", made["id"])
    assert own.exit_code == 3 and "own" in own.stderr
    another = control.json("keys", "new", "--tenant", web.partition("/")[0], "--kind", "admin", "--role", "editor")
    approved = control.burgee("drafts", "approve", f"{web}/production", made["id"], admin_key=another["key"])
    assert approved.exit_code == 0, approved.output
    at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert control.burgee("drafts", "schedule", f"{web}/production", made["id"], "--at", at).exit_code == 0
    assert control.json("drafts", "list", f"{web}/production")[0]["state"] == "scheduled"
    assert control.burgee("drafts", "unschedule", f"{web}/production", made["id"]).exit_code == 0
    assert control.burgee("drafts", "publish", f"{web}/production", made["id"]).exit_code == 0
    assert control.json("history", f"{web}/production")[0]["version"] == 2
    other = control.json("drafts", "create", f"{web}/production")
    assert control.burgee("drafts", "withdraw", f"{web}/production", other["id"]).exit_code == 0
    states = [each["state"] for each in control.json("drafts", "list", f"{web}/production")]
    assert sorted(states) == ["published", "withdrawn"]


def test_places(control: Plane, tenant: str) -> None:
    assert control.burgee("tenants", "create", tenant, "--title", "A tenant").exit_code == 0
    assert control.burgee("projects", "create", f"{tenant}/api").exit_code == 0
    assert control.burgee("environments", "create", f"{tenant}/api/live").exit_code == 0
    assert tenant in [each["name"] for each in control.json("tenants", "list")]
    assert "A tenant" in control.burgee("tenants", "list").stdout
    assert [each["name"] for each in control.json("projects", "list", tenant)] == ["api"]
    assert "live" in [each["name"] for each in control.json("environments", "list", f"{tenant}/api")]
    again = control.burgee("tenants", "create", tenant)
    assert again.exit_code == 3 and f"there is a tenant `{tenant}` already" in again.stderr


def test_keys(control: Plane, web: str) -> None:
    tenant, _, project = web.partition("/")
    made = control.burgee(
        "keys", "new", "--tenant", tenant, "--project", project, "-e", "production", "--kind", "server"
    )
    assert made.exit_code == 0 and made.stdout.startswith("burgee_server_")
    selector = made.stdout.split("_")[2]
    assert selector in control.burgee("keys", "list", "--tenant", tenant).stdout
    assert control.burgee("keys", "revoke", "--tenant", tenant, selector).exit_code == 0
    assert "revoked" in control.burgee("keys", "list", "--tenant", tenant, "--project", project).stdout
    edge = control.json("keys", "new", "--kind", "edge", "--name", "a region")
    assert edge["selector"] in [each["selector"] for each in control.json("keys", "list")]


def test_audit_and_hosts(control: Plane, web: str) -> None:
    tenant = web.partition("/")[0]
    rows = control.json("audit", "list", tenant)
    assert "environment.publish" in [each["action"] for each in rows]
    assert [each["number"] for each in control.json("audit", "list", tenant, "--limit", "1")] == [1]
    assert [each["number"] for each in control.json("audit", "list", tenant, "--after", "1", "--limit", "1")] == [2]
    assert "environment.publish" in control.burgee("audit", "list", tenant).stdout
    assert control.burgee("hosts").exit_code == 0


def test_pages_are_followed(control: Plane, tenant: str, tmp_path: Path) -> None:
    """More flags than a page has."""
    names = [f"f{number:04}" for number in range(1100)]
    flag = {"type": "boolean", "variants": {"on": True}, "fallthrough": "on"}
    (tmp_path / "many" / tenant).mkdir(parents=True)
    document = {"environments": ["default"], "flags": dict.fromkeys(names, flag)}
    (tmp_path / "many" / tenant / "web.json").write_text(json.dumps(document))
    control.json("import", tmp_path / "many")
    assert [each["key"] for each in control.json("flags", "list", f"{tenant}/web")] == names
