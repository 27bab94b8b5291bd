"""The working copy: nobody's edit is lost, and the document made of rows is canonical."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from rules_compiler import compile_flags
from server.control.publishing.documents import packed, taken_apart
from server.control.publishing.publish import Desk
from server.record.audit import canonical
from server.record.definitions import (
    Edits,
    ExistsError,
    bodies_of,
    canonical_json,
    delete_definition,
    document_of_project,
    edited_of,
    get_definition,
    list_definitions,
    put_definition,
    replace_all,
)
from server.record.versions import StaleError
from tests.server.publishing.conftest import Bench
from tests.server.publishing.flags import edit, switch, text
from tests.server.record.rows import ALICE, PRODUCTION

PROJECT = PRODUCTION.project_id


def test_of_a_hundred_editors_of_one_revision_one_wins(bench: Bench) -> None:
    async def steps(desk: Desk) -> list[object]:
        revision = await edit(desk, "checkout", text())

        async def editor(number: int) -> object:
            try:
                async with desk.record.change() as tx:
                    body = packed(text(f"by {number}"))
                    await put_definition(tx, PROJECT, "flag", "checkout", body, expected=revision, by=ALICE)
            except StaleError as error:
                return error.newest
            return number

        outcomes = await asyncio.gather(*(editor(number) for number in range(1000, 1100)))
        async with desk.record.look() as tx:
            row = await get_definition(tx, PROJECT, "flag", "checkout")
        assert row is not None
        won = [each for each in outcomes if each >= 1000]  # type: ignore[operator]
        assert msgspec.json.decode(row.body)["variants"]["a"] == f"by {won[0]}"
        assert set(outcomes) - set(won) == {row.revision}
        return won

    assert len(bench.run(steps)) == 1


def test_a_flag_made_again_has_a_new_revision(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        first = await edit(desk, "checkout", text())
        async with desk.record.change() as tx:
            await delete_definition(tx, PROJECT, "flag", "checkout", expected=first, by=ALICE)
        with pytest.raises(LookupError):
            async with desk.record.change() as tx:
                await put_definition(tx, PROJECT, "flag", "checkout", packed(text()), expected=first, by=ALICE)
        assert await edit(desk, "checkout", text()) > first
        with pytest.raises(ExistsError):
            async with desk.record.change() as tx:
                await put_definition(tx, PROJECT, "flag", "checkout", packed(text()), expected=None, by=ALICE)

    bench.run(steps)


def test_the_document_of_the_rows_is_canonical_and_compiles(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "b", switch())
        await edit(desk, "a", text(rules=[{"when": 'segment("staff")', "serve": "b"}]))
        await edit(desk, "A.1", text("ü"))
        await edit(desk, "staff", {"include": ["u-1"]}, "segment")
        async with desk.record.look() as tx:
            content = await document_of_project(tx, PROJECT)
            listed = await list_definitions(tx, PROJECT, "flag")
        assert content == canonical(msgspec.json.decode(content))
        assert taken_apart(content).content() == content
        assert [each.key for each in listed] == ["A.1", "a", "b"] or [each.key for each in listed] == ["a", "A.1", "b"]
        assert compile_flags(content, environment="production")

    bench.run(steps)


def test_the_whole_is_replaced_or_nothing(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        await edit(desk, "a", text())
        await edit(desk, "b", text())
        async with desk.record.look() as tx:
            edited = await edited_of(tx, PROJECT)
        edits = Edits({("flag", "c"): packed(switch()), ("flag", "a"): packed(text("two"))}, (("flag", "b"),))
        for stale in (edited - 1, edited + 1):
            with pytest.raises(StaleError):
                async with desk.record.change() as tx:
                    await replace_all(tx, PROJECT, edits, expected=stale, by=ALICE)
        async with desk.record.change() as tx:
            await replace_all(tx, PROJECT, edits, expected=edited, by=ALICE)
        async with desk.record.look() as tx:
            bodies = await bodies_of(tx, PROJECT)
        assert bodies == {("flag", "a"): packed(text("two")), ("flag", "c"): packed(switch())}

    bench.run(steps)


@pytest.mark.parametrize("text", [b"{", b'{"a":1,"a":2}', b"1e999", b"[" * 100_000, b"1" + b"0" * 30 + b"x"])
def test_what_is_no_json_has_no_canonical_form(text: bytes) -> None:
    with pytest.raises(ValueError):
        canonical_json(text)
