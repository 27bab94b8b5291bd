"""Whoever edits, deletes, adds or moves a row of the audit log is found, at the first row that does not fit."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner
from sqlalchemy import delete, insert, select, text, update

from server.cli import main
from server.record.audit import INSTANCE, hash_of, note
from server.record.database import Transaction, open_record
from server.record.tables import audit, tenants
from server.record.verify import verify
from tests.server.record.rows import ALICE, PRODUCTION, add_environments

ROWS = 12
BANK = PRODUCTION._replace(tenant="bank")


async def fill(tx: Transaction) -> None:
    await add_environments(tx, PRODUCTION, BANK)
    for number in range(ROWS):
        for tenant in ("shop", "bank", INSTANCE):
            await note(tx, ALICE, "flag.update", f"{tenant}/web/flags/f{number}", {"n": number}, tenant=tenant)


async def unguarded(tx: Transaction) -> None:
    """As somebody who may do anything in the database."""
    if tx.dialect.name == "sqlite":
        await tx.execute(text("DROP TRIGGER audit_refuses_update"))
        await tx.execute(text("DROP TRIGGER audit_refuses_delete"))
    else:
        await tx.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))


SHOP = audit.c.tenant == "shop"


async def edit(tx: Transaction) -> None:
    await tx.execute(update(audit).where(SHOP, audit.c.number == 5).values(actor="mallory"))


async def edit_with_its_hash(tx: Transaction) -> None:
    row = (await tx.execute(select(audit).where(SHOP, audit.c.number == 5))).one()
    found = hash_of(row.previous, "shop", 5, row.at, "mallory", row.action, row.target, row.details)
    await tx.execute(update(audit).where(SHOP, audit.c.number == 5).values(actor="mallory", hash=found))


async def delete_one(tx: Transaction) -> None:
    await tx.execute(delete(audit).where(SHOP, audit.c.number == 5))


async def delete_the_last(tx: Transaction) -> None:
    await tx.execute(delete(audit).where(SHOP, audit.c.number > 10))


async def delete_and_renumber(tx: Transaction) -> None:
    await tx.execute(delete(audit).where(SHOP, audit.c.number == 5))
    for number in range(6, ROWS + 1):
        await tx.execute(update(audit).where(SHOP, audit.c.number == number).values(number=number - 1))


async def swap(tx: Transaction) -> None:
    for old, new in ((5, 999), (6, 5), (999, 6)):
        await tx.execute(update(audit).where(SHOP, audit.c.number == old).values(number=new))


async def add_one(tx: Transaction) -> None:
    last = (await tx.execute(select(audit).where(SHOP, audit.c.number == ROWS))).one()._asdict()
    row = {**last, "number": ROWS + 1, "previous": last["hash"]}
    values = [row[name] for name in ("tenant", "number", "at", "actor", "action", "target", "details")]
    await tx.execute(insert(audit).values(**{**row, "hash": hash_of(row["previous"], *values)}))


async def change_the_head(tx: Transaction) -> None:
    await tx.execute(update(tenants).where(tenants.c.name == "shop").values(audit_head="0" * 64))


async def move_to_another_tenant(tx: Transaction) -> None:
    await tx.execute(delete(audit).where(SHOP))
    await tx.execute(update(audit).where(audit.c.tenant == "bank", audit.c.number == 1).values(tenant="shop"))


@pytest.mark.parametrize(
    ("tamper", "number", "says"),
    [
        (edit, 5, "it was changed"),
        (edit_with_its_hash, 6, "does not follow the row before it"),
        (delete_one, 5, "it is missing: the next one is 6"),
        (delete_the_last, 11, "it is missing: there were 12"),
        (delete_and_renumber, 5, "does not follow the row before it"),
        (swap, 5, "does not follow the row before it"),
        (add_one, 13, "it was added"),
        (change_the_head, 12, "another hash"),
        (move_to_another_tenant, 1, "it was changed"),
    ],
)
def test_what_was_tampered_with_is_named(url: str, tamper: object, number: int, says: str) -> None:
    async def run() -> None:
        record = await open_record(url)
        async with record.change() as tx:
            await fill(tx)
        chains = {each.tenant: each for each in await verify(record)}
        assert {each.rows for each in chains.values()} == {ROWS}
        assert not any(each.broken for each in chains.values())
        async with record.change() as tx:
            await unguarded(tx)
            await tamper(tx)  # type: ignore[operator]
        found = {each.tenant: each for each in await verify(record)}
        broken = found["shop"].broken
        assert broken is not None
        assert (broken.number, says in broken.message) == (number, True), broken
        assert found[INSTANCE] == chains[INSTANCE]
        if tamper is not move_to_another_tenant:
            assert found["bank"] == chains["bank"]
        await record.close()

    asyncio.run(run())


def test_a_long_chain_is_walked_in_pages_and_says_how_far_it_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.record.verify._PAGE", 100)

    async def run() -> None:
        record = await open_record(url)
        async with record.change() as tx:
            for number in range(250):
                await note(tx, ALICE, "a", "b", {"n": number}, tenant=INSTANCE)
        said: list[tuple[int, int]] = []
        (chain,) = await verify(record, progress=lambda *heard: said.append(heard))
        assert (chain.rows, chain.broken) == (250, None)
        assert said == [(100, 250), (200, 250), (250, 250)]
        await record.close()

    asyncio.run(run())


def test_the_command_names_the_row_and_ends_with_1(url: str) -> None:
    async def prepare(*, tampered: bool) -> None:
        record = await open_record(url)
        async with record.change() as tx:
            if tampered:
                await unguarded(tx)
                await edit(tx)
            else:
                await fill(tx)
        await record.close()

    asyncio.run(prepare(tampered=False))
    whole = CliRunner().invoke(main, ["audit", "verify", "--database", url])
    assert (whole.exit_code, whole.stdout.count("12 rows, head ")) == (0, 3)
    asyncio.run(prepare(tampered=True))
    broken = CliRunner().invoke(main, ["audit", "verify", "--database", url])
    assert broken.exit_code == 1
    assert "error: shop: row 5: it was changed" in broken.stderr
    answer = json.loads(CliRunner().invoke(main, ["audit", "verify", "--json", "--database", url]).stdout)
    assert [each.get("broken") for each in answer["chains"]] == [None, None, {"number": 5, "message": "it was changed"}]
    bank = CliRunner().invoke(main, ["audit", "verify", "--database", url, "--tenant", "bank"])
    assert (bank.exit_code, "bank: 12 rows" in bank.stdout, "shop" in bank.stdout) == (0, True, False)
    nobody = CliRunner().invoke(main, ["audit", "verify", "--database", url, "--tenant", "nobody"])
    assert (nobody.exit_code, "there is no tenant `nobody`" in nobody.stderr) == (1, True)
