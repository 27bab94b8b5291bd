"""`burgee import|export|diff|apply`: a folder and a control plane, made alike in both directions."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from server.client.connection import Connection
from server.client.control import Control, path_of
from server.client.writing import same_document
from server.record import tables
from server.record.versions import snapshot_of
from server.sources import key_file
from server.sources.key_file import KeyRecord
from server.types import ProjectId
from tests.server.client.planes import PATIENCE, Plane, burgee, plane
from tests.server.running import SAMPLES

CLOSED = {"control": "http://127.0.0.1:1", "admin_key": "burgee_admin_" + "0" * 16 + "_" + "0" * 49}


def edit(flags: Path, old: str, new: str) -> None:
    path = next(flags.glob("*/web.yaml"))
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def keys_in(path: Path) -> tuple[set[KeyRecord], dict[str, tuple[str, ...]]]:
    """A control plane makes a key when it is imported: that moment is another."""
    file = key_file.parse(path.read_bytes())
    return {msgspec.structs.replace(each, created=datetime(2026, 1, 1, tzinfo=UTC)) for each in file.keys}, file.origins


async def snapshots(record_of: Plane) -> dict[tuple[str, str, str, int], bytes]:
    found = {}
    async with record_of.record.look() as tx:
        for row in (await tx.execute(select(tables.versions))).all():
            content = await snapshot_of(tx, ProjectId(row.tenant, row.project), row.snapshot)
            assert content is not None
            found[row.tenant, row.project, row.environment, row.number] = content
    return found


def test_round_trip(tmp_path: Path) -> None:
    """What is exported compiles to the same bytes, opens to the same keys, and is a folder as it was."""
    exported = tmp_path / "exported"
    held = []
    for name, folder in (("first", SAMPLES), ("second", exported)):
        (tmp_path / name).mkdir()
        with plane(tmp_path / name) as control:
            answer = control.json("import", folder)
            assert [each["project"] for each in answer["projects"]] == ["bank/mobile", "game/backend", "shop/web"]
            if name == "first":
                assert control.json("export", exported)["projects"] == 3
            held.append(asyncio.run_coroutine_threadsafe(snapshots(control), control.loop).result(PATIENCE))
            assert control.burgee("diff", folder).exit_code == 0
    assert len(held[0]) == 5
    assert held[0] == held[1]
    for path in SAMPLES.glob("*/*.yaml"):
        other = exported / path.relative_to(SAMPLES)
        if path.name.endswith(".keys.yaml"):
            assert keys_in(other) == keys_in(path)
        else:
            assert same_document(path.read_bytes(), other.read_bytes())


def test_import_is_done_once(control: Plane, flags: Path, tenant: str) -> None:
    first = control.json("import", flags)["projects"][0]
    assert first["make"] == [
        f"tenant {tenant}",
        f"project {tenant}/web",
        f"environment {tenant}/web/staging",
        f"environment {tenant}/web/production",
    ]
    assert first["versions"] == {"staging": 1, "production": 1}
    again = control.json("import", flags)["projects"][0]
    assert not again["changed"] and "versions" not in again


def test_import_dry_run_does_nothing(control: Plane, flags: Path, tenant: str) -> None:
    result = control.burgee("import", flags, "--dry-run")
    assert result.exit_code == 0 and f"tenant {tenant}: to be made" in result.stdout
    assert control.burgee("projects", "list", tenant).exit_code == 3


def test_keys_and_origins_come_along(control: Plane, tmp_path: Path, flags: Path, tenant: str) -> None:
    made = control.json(
        *("keys", "new", "--tenants", flags, "--tenant", tenant, "--project", "web", "-e", "production"),
        *("--kind", "client", "--name", "a page"),
    )
    beside = flags / tenant / "web.keys.yaml"
    beside.write_text(beside.read_text() + 'origins:\n  production: ["https://shop.example"]\n')
    control.json("import", flags)
    listed = control.json("keys", "list", "--tenant", tenant)
    assert [(each["selector"], each["kind"], each["name"]) for each in listed] == [
        (made["selector"], "client", "a page")
    ]
    out = tmp_path / "out"
    control.json("export", out, f"{tenant}/web")
    assert keys_in(out / tenant / "web.keys.yaml") == keys_in(beside)
    assert keys_in(beside)[1] == {"production": ("https://shop.example",)}
    assert control.json("export", flags, tenant)["written"] == []
    control.json("keys", "revoke", "--tenants", flags, "--tenant", tenant, "--project", "web", made["selector"])
    assert control.json("import", flags)["projects"][0]["keys"]["revoke"] == [made["selector"]]
    assert control.json("keys", "list", "--tenant", tenant)[0]["revokedAt"]


def test_diff_says_what_and_where(control: Plane, imported: Path, tenant: str) -> None:
    assert control.burgee("diff", imported).exit_code == 0
    edit(imported, "staging: {fallthrough: new}", "staging: {fallthrough: old}")
    result = control.burgee("diff", imported)
    assert result.exit_code == 1
    assert f"{tenant}/web: the working copy\n  ~ checkout\n" in result.stdout
    assert f'{tenant}/web/staging: to be published\n  ~ checkout\n      fallthrough: "new" -> "old"\n' in result.stdout
    assert f"{tenant}/web/production" not in result.stdout
    assert control.burgee("diff", imported, "-e", "production").exit_code == 0
    assert control.burgee("diff", imported, "-e", "staging").exit_code == 1
    assert control.burgee("diff", imported, "-e", "moon").exit_code == 2


def test_apply_writes_only_what_differs(control: Plane, imported: Path, tenant: str) -> None:
    edit(imported, "new: one-page", "new: two-pages")
    dry = control.json("apply", imported, "--dry-run", "--publish", "staging")
    assert dry["dryRun"] and "versions" not in dry["projects"][0]
    assert control.burgee("diff", imported).exit_code == 1
    done = control.json("apply", imported, "--publish", "staging", "-m", "two pages")["projects"][0]
    assert done["versions"] == {"staging": 2} and [each["key"] for each in done["edit"]] == ["checkout"]
    assert list(done["waits"]) == ["production"]
    again = control.json("apply", imported, "--publish", "staging")["projects"][0]
    assert not again["changed"] and list(again["waits"]) == ["production"]
    assert control.json("history", f"{tenant}/web/staging")[0]["message"] == "two pages"
    assert control.json("apply", imported, "--publish", "*")["projects"][0]["versions"] == {"production": 2}
    assert control.burgee("diff", imported).exit_code == 0


def test_apply_keeps_what_the_folder_lacks_unless_it_prunes(control: Plane, imported: Path, tenant: str) -> None:
    path = imported / tenant / "web.yaml"
    path.write_text(path.read_text().partition("  banner:")[0])
    assert "  - banner\n" in control.burgee("diff", imported).stdout
    kept = control.json("apply", imported, "--publish", "*")["projects"][0]
    assert not kept["changed"] and kept["beyond"] == ["flag banner"]
    pruned = control.json("apply", imported, "--publish", "*", "--prune")["projects"][0]
    assert [(each["key"], each["what"]) for each in pruned["edit"]] == [("banner", "removed")]
    assert [each["key"] for each in control.json("flags", "list", f"{tenant}/web")] == ["checkout"]


def test_a_document_with_errors_stops_everything(control: Plane, flags: Path, tenant: str) -> None:
    shutil.copy(flags / tenant / "web.yaml", flags / tenant / "api.yaml")
    edit(flags, "fallthrough: old", "fallthrough: odl")
    for command, code in (("import", 1), ("apply", 1), ("diff", 3)):
        result = control.burgee(command, flags)
        assert result.exit_code == code
        assert "web.yaml:" in result.stderr and "odl" in result.stderr and "did you mean `old`" in result.stderr
    assert control.burgee("projects", "list", tenant).exit_code == 3


def test_apply_strict_stops_at_warnings(control: Plane, imported: Path) -> None:
    edit(
        imported,
        "rules: [{when: 'segment(\"staff\")', serve: new}]",
        "rules: [{when: 'true', serve: new}, {when: 'a', serve: old}]",
    )
    assert control.burgee("apply", imported, "--strict", "--dry-run").exit_code == 1
    assert control.burgee("apply", imported, "--dry-run").exit_code == 0


@pytest.mark.parametrize("command", ["import", "diff", "apply"])
def test_a_folder_without_documents(command: str, tmp_path: Path) -> None:
    result = burgee(command, tmp_path, **CLOSED)
    assert result.exit_code in (1, 3) and "there is no document (hint: FOLDER/<tenant>/<project>.yaml)" in result.stderr


def test_export_leaves_what_says_the_same(control: Plane, imported: Path, tenant: str) -> None:
    before = (imported / tenant / "web.yaml").read_text()
    assert control.json("export", imported, tenant)["written"] == []
    assert (imported / tenant / "web.yaml").read_text() == before
    control.json("kill", f"{tenant}/web/production", "banner")
    assert control.json("export", imported, tenant)["written"] == [str(imported / tenant / "web.yaml")]
    assert control.burgee("diff", imported).exit_code == 0


def test_export_what_is_published(control: Plane, imported: Path, tmp_path: Path, tenant: str) -> None:
    control.json("flags", "delete", f"{tenant}/web", "banner")
    control.json("export", tmp_path / "working", tenant)
    control.json("export", tmp_path / "published", tenant, "-e", "production")
    assert "banner" not in (tmp_path / "working" / tenant / "web.yaml").read_text()
    assert "banner" in (tmp_path / "published" / tenant / "web.yaml").read_text()
    assert control.json("export", tmp_path / "none", tenant, "-e", "moon")["unpublished"] == [f"{tenant}/web"]


def test_one_environment_that_wants_approvals_keeps_no_other_from_being_published(
    control: Plane, imported: Path, tenant: str
) -> None:
    path = path_of("tenants", tenant, "projects", "web", "environments", "production")
    with Control(Connection(control.url), control.key) as client:
        client.patch(path, {"settings": {"approvals": 1}}, etag=client.get(path).etag)
    edit(imported, "new: one-page", "new: two-pages")
    result = control.burgee("apply", imported, "--publish", "*", "--json")
    row = json.loads(result.stdout)["projects"][0]
    assert result.exit_code == 3 and row["versions"] == {"staging": 2}
    assert "needs an approval (hint: make a draft of it)" in row["error"]
    draft = control.json("drafts", "create", f"{tenant}/web/production")
    another = control.json("keys", "new", "--tenant", tenant, "--kind", "admin", "--role", "editor")
    assert (
        control.burgee("drafts", "approve", f"{tenant}/web/production", draft["id"], admin_key=another["key"]).exit_code
        == 0
    )
    assert control.burgee("drafts", "publish", f"{tenant}/web/production", draft["id"]).exit_code == 0
    assert control.burgee("diff", imported).exit_code == 0


def test_a_project_that_is_refused_keeps_no_other_from_being_applied(
    control: Plane, imported: Path, tenant: str
) -> None:
    """A key of one tenant sees no other: what it may not touch is said, and what it may is done."""
    other = f"{tenant}-other"
    (imported / other).mkdir()
    shutil.copy(imported / tenant / "web.yaml", imported / other / "web.yaml")
    edit_in = imported / tenant / "web.yaml"
    edit_in.write_text(edit_in.read_text().replace("new: one-page", "new: two-pages"))
    editor = control.json("keys", "new", "--tenant", tenant, "--kind", "admin", "--role", "editor")["key"]
    result = control.burgee("apply", imported, "--publish", "*", admin_key=editor)
    assert result.exit_code == 3
    assert "2 projects: 1 changed, 1 refused" in result.stderr and f"error: {other}/web: " in result.stderr
    assert control.json("history", f"{tenant}/web/production")[0]["version"] == 2


def test_digests_of_keys_are_for_admins(control: Plane, imported: Path, tmp_path: Path, tenant: str) -> None:
    control.json("keys", "new", "--tenant", tenant, "--project", "web", "-e", "production", "--kind", "server")
    viewer = control.json("keys", "new", "--tenant", tenant, "--kind", "admin", "--role", "viewer")["key"]
    listed = control.burgee("keys", "list", "--tenant", tenant, "--json", admin_key=viewer)
    assert [each["sha256"] for each in json.loads(listed.stdout)] == [None, None]
    refused = control.burgee("export", tmp_path / "out", admin_key=viewer)
    assert refused.exit_code == 3 and "(hint: --no-keys)" in refused.stderr
    assert control.burgee("export", tmp_path / "out", "--no-keys", admin_key=viewer).exit_code == 0
    assert [path.name for path in (tmp_path / "out" / tenant).iterdir()] == ["web.yaml"]
