"""What the agent does, in this process: snapshots on disk, records in the journal, the position in a page."""

from __future__ import annotations

import json
from pathlib import Path

from rules_compiler import compile_flags
from server.shared.page import Page
from server.state.catalog import Catalog
from server.state.journal import Journal
from server.state.records import KeyGrant, ProjectRecord, Published
from server.state.snapshots import SnapshotFiles
from server.types import EnvironmentId, KeyKind

CONTEXT = b'{"context":{"targetingKey":"u"}}'


def snapshot(word: str) -> bytes:
    """One flag that says this word."""
    flag = {"type": "string", "variants": {"a": word, "b": "other"}, "offVariant": "b", "fallthrough": "a"}
    return compile_flags({"flags": {"f": flag}})


def grant(text: str, *environments: str) -> KeyGrant:
    return KeyGrant(text.encode().ljust(32), text, KeyKind.SERVER, environments or ("default",))


def environment(tenant: str, name: str = "default") -> EnvironmentId:
    return EnvironmentId(tenant, "app", name)


class Publishing:
    def __init__(self, state: Path) -> None:
        self.state = state
        self.page = Page(2)
        self.journal = Journal(state)
        self.files = SnapshotFiles(state)
        self.complaints: list[str] = []

    def catalog(self, *, budget: int = 1 << 20, most: int = 1000, slot: int = 0, workers: int = 1) -> Catalog:
        block = self.page.block(slot)
        block.slot = slot
        return Catalog(
            self.state, self.page, block, budget=budget, most=most, complain=self.complaints.append, workers=workers
        )

    def write(self, tenant: str, version: int, word: str, name: str = "default") -> Published:
        return self.files.write(environment(tenant, name), version, snapshot(word))

    def publish(self, *records: ProjectRecord) -> None:
        self.page.position = self.journal.append(records)

    def serve(self, tenant: str, version: int, word: str, *keys: KeyGrant) -> Published:
        published = self.write(tenant, version, word)
        self.publish(ProjectRecord(tenant, "app", (published,), keys, version=version))
        return published


def word_of(catalog: Catalog, tenant: str, name: str = "default") -> str | None:
    served = catalog.served(environment(tenant, name))
    return None if served is None else json.loads(served.snapshot.evaluate_json(CONTEXT, "f"))["value"]
