"""What is backed up is there again, in either database; what is torn is refused; hosts take what was restored."""

from __future__ import annotations

import asyncio
import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from sqlalchemy import insert, select, text, update

from engine import Snapshot
from server.cli import main
from server.record.audit import SYSTEM
from server.record.backup import PASSING, back_up, kept_tables
from server.record.backup_file import MAGIC, BackupError, Writer, read_header, read_rows, writing
from server.record.canaries import Plan
from server.record.database import EPOCH, Record, RecordError, begin_epoch, epoch_of, open_record
from server.record.projects import listing, record_of
from server.record.restore import Restored, restore
from server.record.schema import migrate, open_migrated, revision_of
from server.record.tables import drafts, environments, keys, metadata, projects, tenants, versions, webhooks
from server.record.verify import verify
from server.record.versions import commit_version, next_version, snapshot_of
from server.types import EnvironmentId, ProjectId
from tests.server.record.rows import ALICE, PRODUCTION, STAGING, add_environments, candidate, publish
from tests.services import PostgresServer

WEB = ProjectId("shop", "web")
GONE = EnvironmentId("shop", "old", "production")


async def fill(record: Record) -> None:
    async with record.change() as tx:
        await add_environments(tx, PRODUCTION, STAGING, GONE)
        digest = {"digest": "ab" * 32, "created_at": 1.5, "created_by": "alice"}
        await tx.execute(insert(keys).values(selector="k1", kind="server", tenant="shop", project="web", **digest))
        hook = {"tenant": "shop", "url": "https://example.test/ü", "secret": "s", "created_at": 1.25}
        await tx.execute(insert(webhooks).values(id="w1", **hook))
        await tx.execute(metadata.tables["hosts"].insert().values(name="h1", at=1.0, body="{}"))
    for value in ("one", "two", "three"):
        await publish(record, PRODUCTION, value)
    await publish(record, STAGING, "one")
    await publish(record, GONE, "one")
    async with record.change() as tx:
        made = {"tenant": "shop", "project": "web", "environment": "production", "kind": "publish", "created_by": "bob"}
        document = await tx.scalar(select(versions.c.document).where(versions.c.number == 3))
        for name, state, base in (("d1", "open", 3), ("d2", "open", 2), ("d3", "published", 3)):
            row = {"id": name, "state": state, "base": base, "document": document, "created_at": 2.0}
            await tx.execute(insert(drafts).values(**made, **row))
        await tx.execute(update(projects).where(projects.c.name == "old").values(deleted_at=3.0))


async def rows_of(record: Record) -> dict[str, list[Any]]:
    async with record.look() as tx:
        found = {}
        for table in kept_tables():
            query = select(table).order_by(*table.primary_key.columns)
            found[table.name] = [tuple(row) for row in await tx.execute(query)]
        return found


@pytest.fixture
def other_urls(postgres_server: PostgresServer, tmp_path: Path) -> list[str]:
    return [f"sqlite:///{tmp_path / 'other.db'}", postgres_server.new_database()]


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Of a record with three versions in production."""
    path = tmp_path / "record.backup"

    async def run() -> None:
        record = await open_migrated(f"sqlite:///{tmp_path / 'source.db'}")
        await fill(record)
        await back_up(record, path)
        await record.close()

    asyncio.run(run())
    return path


def test_a_record_moves_between_databases_and_nothing_is_other(url: str, other_urls: list[str], tmp_path: Path) -> None:
    async def run() -> None:
        source = await open_record(url)
        await fill(source)
        said: list[tuple[str, int, int]] = []
        header = await back_up(source, tmp_path / "b", lambda *heard: said.append(heard))
        assert said[-1][1:] == (sum(header.counts.values()),) * 2
        before = await rows_of(source)
        assert not PASSING & set(before) and len(before["versions"]) == 5
        for other in other_urls:
            target = await open_record(other)
            done = await restore(target, tmp_path / "b", keep_epoch=True)
            assert done == Restored(header, 0, 0)
            assert await rows_of(target) == before
            assert await publish(target, PRODUCTION, "four") == 4
            assert not any(chain.broken for chain in await verify(target))
            await target.close()
        await source.close()

    asyncio.run(run())


def test_a_restored_record_is_newer_than_what_hosts_have(database_url: str, backup: Path) -> None:
    async def run() -> None:
        record = await open_record(database_url)
        done = await restore(record, backup)
        first = done.epoch * EPOCH + 1
        assert done.epoch > 100_000 and done.versions == 2  # minutes since 2026; not that of a deleted project
        async with record.look() as tx:
            assert await epoch_of(tx) == done.epoch
            told = await record_of(tx, WEB)
            assert told is not None
            assert {each.name: each.version for each in told.environments} == {"production": first, "staging": first}
            for each in told.environments:
                blob = await snapshot_of(tx, WEB, each.digest)
                assert blob is not None and len(blob) == each.size
                snapshot = Snapshot.from_bytes(blob)
                assert (snapshot.version, snapshot.digest) == (first, each.digest)
                assert snapshot.flag_set_id == f"shop/web/{each.name}"
                value = {"production": "three", "staging": "one"}[each.name]
                assert snapshot.evaluate("checkout", {}).value == value
            numbers = await listing(tx)
            assert set(numbers) == {WEB, GONE.project_id}  # hosts hear of what is deleted, too
            assert min(numbers.values()) > done.epoch * EPOCH and told.version == numbers[WEB]
            gone = await record_of(tx, GONE.project_id)
            assert gone is not None and gone.gone
            newest = select(versions).where(versions.c.number == first, versions.c.environment == "production")
            row = (await tx.execute(newest)).one()
            assert (row.kind, row.origin, row.created_by) == ("restore", "3", SYSTEM.name)
            bases = {row.id: row.base for row in await tx.execute(select(drafts.c.id, drafts.c.base))}
            assert bases == {"d1": first, "d2": 2, "d3": 3}
        assert not any(chain.broken for chain in await verify(record))
        assert await publish(record, PRODUCTION, "four") == first + 1
        await record.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("held", "numbers"),
    [
        ({"pinned_version": 3}, (2, 1, 1)),  # newest, live, pinned; of the new epoch
        ({"paused": True}, (2, 1, None)),
        ({"paused": True, "live_version": 0}, (1, 0, None)),
        ({"paused": True, "live_version": 2, "pinned_version": 3}, (3, 1, 2)),
    ],
)
def test_what_was_held_is_held_at_what_was_live(
    tmp_path: Path, url: str, held: dict[str, Any], numbers: tuple[int | None, ...]
) -> None:
    async def run() -> None:
        record = await open_record(url)
        await fill(record)
        production = (environments.c.project == "web") & (environments.c.name == "production")
        async with record.change() as tx:
            await tx.execute(update(environments).where(production).values(**held))
        await publish(record, PRODUCTION, "not live")
        await back_up(record, tmp_path / "b")
        done = await restore(record, tmp_path / "b", replace=True)
        async with record.look() as tx:
            query = select(environments.c.version, environments.c.live_version, environments.c.pinned_version)
            found = (await tx.execute(query.where(production))).one()
            assert tuple(number and number - done.epoch * EPOCH for number in found) == numbers
            for number, value in (
                (found.version, "not live"),
                (found.live_version, {2: "two"}.get(held.get("live_version", 3), "three")),
            ):
                digest = select(versions.c.snapshot).where(
                    versions.c.number == number, versions.c.environment == "production"
                )
                blob = await snapshot_of(tx, WEB, await tx.scalar(digest) or "")
                if number:
                    assert blob is not None
                    snapshot = Snapshot.from_bytes(blob)
                    assert (snapshot.version, snapshot.evaluate("checkout", {}).value) == (number, value)
            told = await record_of(tx, WEB)
            assert told is not None
            live = {each.name: each.version for each in told.environments}
            assert live.get("production", 0) == found.live_version
        await record.close()

    asyncio.run(run())


def test_a_canary_ends_with_what_was_live_for_most(url: str, tmp_path: Path) -> None:
    async def run() -> None:
        record = await open_record(url)
        await fill(record)
        async with record.look() as tx:
            expected, number = await next_version(tx, PRODUCTION)
        tried = candidate(PRODUCTION, number, "tried")
        async with record.change() as tx:
            plan = Plan(share=0.5, seconds=60)
            await commit_version(tx, PRODUCTION, expected=expected, candidate=tried, by=ALICE, canary=plan)
        await back_up(record, tmp_path / "b")
        before = await rows_of(record)
        await restore(record, tmp_path / "b", replace=True, keep_epoch=True)
        assert await rows_of(record) == before and len(before["canaries"]) == 1
        await restore(record, tmp_path / "b", replace=True)
        async with record.look() as tx:
            told = await record_of(tx, WEB)
            assert told is not None and told.canaries == ()
            blob = await snapshot_of(tx, WEB, told.environments[0].digest)
            assert blob is not None and Snapshot.from_bytes(blob).evaluate("checkout", {}).value == "three"
        await record.close()

    asyncio.run(run())


def test_a_database_with_something_in_it_is_replaced_only_when_asked(url: str, backup: Path) -> None:
    async def run() -> None:
        record = await open_record(url)
        async with record.change() as tx:
            await add_environments(tx, EnvironmentId("bank", "app", "production"))
            lost = await begin_epoch(tx, above=600_000)
        before = await rows_of(record)
        with pytest.raises(RecordError, match=r"not empty .hint: --replace"):
            await restore(record, backup)
        assert await rows_of(record) == before
        done = await restore(record, backup, replace=True)
        assert done.epoch == lost + 1 == 600_002
        async with record.look() as tx:
            assert (await tx.scalars(select(tenants.c.name))).all() == ["shop"]
        again = await restore(record, backup, replace=True)
        assert again.epoch == done.epoch + 1  # and two restorations of one backup do not meet
        await record.close()

    asyncio.run(run())


def test_tables_of_something_else_are_left_alone(database_url: str, backup: Path) -> None:
    async def run() -> None:
        record = await open_record(database_url)
        async with record.change() as tx:
            await tx.execute(text("CREATE TABLE tenants (of_a_landlord INTEGER)"))
        with pytest.raises(RecordError, match="a table `tenants` that is not Burgee's"):
            await restore(record, backup, replace=True)
        async with record.look() as tx:
            assert (await tx.execute(text("SELECT count(*) FROM tenants"))).scalar() == 0
        await record.close()

    asyncio.run(run())


def test_what_does_not_compile_leaves_the_database_as_it_was(url: str, backup: Path) -> None:
    async def run() -> None:
        record = await open_record(url)
        async with record.change() as tx:
            await add_environments(tx, PRODUCTION)
            expected, number = await next_version(tx, PRODUCTION)
            good = candidate(PRODUCTION, number, "a")
            bad = replace(good, document=b'{"flags": {"a": {}}}', document_digest="00" * 32)
            await commit_version(tx, PRODUCTION, expected=expected, candidate=bad, by=ALICE)
        await back_up(record, backup.with_name("bad"))
        before = await rows_of(record)
        with pytest.raises(BackupError, match=r"live in `shop/web/production` does not compile.*--keep-epoch"):
            await restore(record, backup.with_name("bad"), replace=True)
        assert await rows_of(record) == before
        await restore(record, backup.with_name("bad"), replace=True, keep_epoch=True)
        assert await rows_of(record) == before
        await record.close()

    asyncio.run(run())


def test_a_file_that_is_torn_or_flipped_is_refused_before_anything_is_done(backup: Path, tmp_path: Path) -> None:
    whole = backup.read_bytes()
    step = max(1, len(whole) // 80)
    torn = [whole[:end] for end in range(0, len(whole) - 8, step)]
    flipped = [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(0, len(whole) - 4, step)]

    async def run() -> None:
        record = await open_record(f"sqlite:///{tmp_path}/target.db")
        bad = tmp_path / "bad"
        for content in torn + flipped:
            bad.write_bytes(content)
            with pytest.raises(BackupError):
                await restore(record, bad)
        async with record.look() as tx:
            assert await revision_of(tx) is None
        await record.close()

    asyncio.run(run())


def rewritten(source: Path, target: Path, **changes: Any) -> Path:
    """The same rows under another header."""
    header = msgspec.structs.replace(read_header(source), **changes)
    with writing(target) as writer:
        writer.header(header)
        for table, rows in read_rows(source):
            writer.rows(table, rows)
    return target


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": "9999"}, "of a newer Burgee, with schema 9999"),
        ({"format": 2}, "has format 2, this program knows format 1"),
        ({"columns": {"users": ["name"]}, "counts": {"users": 0}}, "tables that this program does not know"),
        ({"counts": {}}, "rows that it should not have"),
    ],
)
def test_a_file_from_elsewhere_is_refused(backup: Path, tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    async def run(path: Path) -> None:
        record = await open_record(f"sqlite:///{tmp_path}/target.db")
        try:
            with pytest.raises(BackupError, match=says):
                await restore(record, path)
        finally:
            await record.close()

    asyncio.run(run(rewritten(backup, tmp_path / "other", **changes)))
    (tmp_path / "text").write_text("not a backup")
    says = "no backup of Burgee"
    asyncio.run(run(tmp_path / "text"))


def test_a_backup_of_an_older_schema_is_restored(backup: Path, tmp_path: Path, database_url: str) -> None:
    """Columns that it does not have get their defaults."""
    header = read_header(backup)
    columns = dict(header.columns)
    kept = [name for name in columns["tenants"] if name != "title"]
    columns["tenants"] = kept
    with writing(tmp_path / "older") as writer:
        writer.header(msgspec.structs.replace(header, schema="0001", columns=columns))
        for table, rows in read_rows(backup):
            if table == "tenants":
                places = [header.columns["tenants"].index(name) for name in kept]
                rows = [[row[place] for place in places] for row in rows]
            writer.rows(table, rows)

    async def run() -> None:
        record = await open_record(database_url)
        await restore(record, tmp_path / "older")
        async with record.look() as tx:
            assert (await tx.execute(select(tenants.c.name, tenants.c.title))).all() == [("shop", "")]
        assert await migrate(record) == ()
        await record.close()

    asyncio.run(run())


def test_a_backup_is_of_one_moment(url: str, tmp_path: Path) -> None:
    async def run() -> None:
        record = await open_record(url)
        await fill(record)
        stop = asyncio.Event()

        async def go_on() -> int:
            count = 0
            while not stop.is_set():
                count = await publish(record, PRODUCTION, f"value {count}")
            return count

        publishing = asyncio.create_task(go_on())
        for number in range(5):
            await back_up(record, tmp_path / f"b{number}")
        stop.set()
        assert await publishing > 3
        for number in range(5):
            target = await open_record(f"sqlite:///{tmp_path}/target{number}.db")
            await restore(target, tmp_path / f"b{number}", keep_epoch=True)
            assert not any(chain.broken for chain in await verify(target))
            found = (await rows_of(target))["versions"]
            numbers = [row[3] for row in found if row[:3] == tuple(PRODUCTION)]
            assert numbers == list(range(1, len(numbers) + 1))
            await target.close()
        await record.close()

    asyncio.run(run())


def test_a_backup_that_fails_leaves_the_one_before(backup: Path) -> None:
    before = backup.read_bytes()

    def fail(writer: Writer) -> None:
        writer.rows("tenants", [])
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), writing(backup) as writer:
        fail(writer)
    assert backup.read_bytes() == before
    assert [each.name for each in backup.parent.glob(".record.backup*")] == []
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert before.startswith(MAGIC)


def burgee(*arguments: str | Path) -> Any:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_the_commands(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURGEE_DATABASE", database_url)
    file = tmp_path / "b"
    missing = burgee("db", "check")
    assert missing.exit_code == 1 and ("no database" in missing.stderr or "burgee db migrate" in missing.stderr)
    early = burgee("backup", file)
    assert early.exit_code == 1 and not file.exists()
    assert "applied" in burgee("db", "migrate").stdout
    assert "nothing to do" in burgee("db", "migrate").stdout
    assert "nothing is wrong" in burgee("db", "check").stdout
    assert json.loads(burgee("db", "check", "--json").stdout)["faults"] == []

    async def prepare() -> None:
        record = await open_record(database_url)
        await fill(record)
        await record.close()

    asyncio.run(prepare())
    told = json.loads(burgee("backup", file, "--json").stdout)
    assert told["ok"] and told["rows"]["versions"] == 5 and told["bytes"] == file.stat().st_size
    refused = burgee("restore", file)
    assert refused.exit_code == 1 and "error: the database is not empty" in refused.stderr
    done = burgee("restore", file, "--replace")
    assert done.exit_code == 0 and "2 new versions" in done.stdout
    moved = burgee("restore", file, "--database", f"sqlite:///{tmp_path}/moved.db", "--keep-epoch", "--json")
    assert json.loads(moved.stdout)["epoch"] == 0
    nowhere = burgee("backup", tmp_path / "no" / "where")
    assert nowhere.exit_code == 1 and "no such file or directory" in nowhere.stderr
    odd = burgee("backup", file, "--database", "mysql://x", "--json")
    assert json.loads(odd.stdout)["ok"] is False
