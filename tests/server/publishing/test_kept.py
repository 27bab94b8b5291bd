"""What is kept of documents is what the record has, whoever changes it, and no more than it may be."""

from __future__ import annotations

from server.control.publishing.documents import Document
from server.control.publishing.kept import KeptDocuments
from server.control.publishing.publish import Desk
from server.record.definitions import FLAG, Edits, bodies_of, delete_definition, edited_of, replace_all
from server.record.tenants import create_project, delete_project
from tests.server.publishing.conftest import Bench
from tests.server.publishing.flags import edit, switch, text
from tests.server.record.rows import ALICE, PRODUCTION

PROJECT = PRODUCTION.project_id


def test_a_kept_working_copy_follows_every_kind_of_change(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        kept = KeptDocuments()

        async def as_in_the_record() -> None:
            async with desk.record.look() as tx:
                assert await kept.working(tx, PROJECT) == (await edited_of(tx, PROJECT), await bodies_of(tx, PROJECT))

        await as_in_the_record()
        for key in ("a", "b", "c"):
            await edit(desk, key, text())
        await as_in_the_record()
        revision = await edit(desk, "b", text("two"))
        await as_in_the_record()
        async with desk.record.change() as tx:
            await delete_definition(tx, PROJECT, FLAG, "b", expected=revision, by=ALICE)
        await as_in_the_record()
        await edit(desk, "b", switch())
        async with desk.record.change() as tx:  # as many as before, others
            edits = Edits({(FLAG, "d"): b"{}"}, ((FLAG, "a"),))
            await replace_all(tx, PROJECT, edits, expected=await edited_of(tx, PROJECT), by=ALICE)
        await as_in_the_record()
        async with desk.record.change() as tx:
            await delete_project(tx, PROJECT, by=ALICE)
            await create_project(tx, PROJECT, title="", by=ALICE)
        await as_in_the_record()

    bench.run(steps)


def test_what_changed_is_all_that_is_read(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        kept = KeptDocuments()
        await edit(desk, "a", text())
        async with desk.record.look() as tx:
            _, before = await kept.working(tx, PROJECT)
        await edit(desk, "b", text())
        async with desk.record.look() as tx:
            _, after = await kept.working(tx, PROJECT)
        assert after[FLAG, "a"] is before[FLAG, "a"]

    bench.run(steps)


def test_the_least_lately_used_goes_first(bench: Bench) -> None:
    async def steps(desk: Desk) -> None:
        kept = KeptDocuments(most_bytes=250)
        documents = {digest: Document((), {(FLAG, "a"): b"x" * 100}) for digest in "abc"}
        for digest in "ab":
            kept.keep(PROJECT, digest, documents[digest])
        async with desk.record.look() as tx:
            assert await kept.published(tx, PROJECT, "a") is documents["a"]
            kept.keep(PROJECT, "c", documents["c"])
            assert await kept.published(tx, PROJECT, "b") is None
            assert await kept.published(tx, PROJECT, "a") is documents["a"]

    bench.run(steps)
