"""The front in process: however bytes are sliced, the same answers and hand-over; what it takes, llhttp and h11 take.

Sequences of right, strange and mutated messages: 300 by default, 30,000 with BURGEE_PROFILE=nightly; each whole, byte
by byte, and in random parts. Each message of the corpus between right ones, cut in two at every byte.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from rules_compiler import compile_flags
from server import keys
from server.front.admission import Admission
from server.front.protocol import Front, scan
from server.quotas import Quotas
from server.shared.page import Page
from server.state.catalog import Catalog
from server.state.journal import Journal
from server.state.records import KeyGrant, ProjectRecord
from server.state.snapshots import SnapshotFiles
from server.state.store import Store
from server.types import EnvironmentId, KeyKind, ProjectId
from tests.server.live.corpus import SMUGGLING, VALID, message, mutated
from tests.server.running import BULK, SAMPLES, SHOP
from tests.server.test_front_scan import check_accepted

SEQUENCES = 30_000 if os.environ.get("BURGEE_PROFILE") == "nightly" else 300
PROJECT = ProjectId("shop", "web")
PRODUCTION = EnvironmentId("shop", "web", "production")


@dataclass
class Wire:
    """The transport, the event loop, and aiohttp: what the front did to each."""

    written: bytes = b""
    handed_over: bytes | None = None
    closed: bool = False
    soon: list[Callable[[], object]] = field(default_factory=list)

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    resume_reading = pause_reading

    def set_protocol(self, protocol: object) -> None:
        assert protocol is self

    def connection_made(self, transport: object) -> None:
        assert self.handed_over is None
        self.handed_over = b""

    def data_received(self, data: bytes) -> None:
        assert self.handed_over is not None
        self.handed_over += data

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.soon.append(callback)


class Bench:
    """One front that answers for one environment; its clock stands still but for `tick`."""

    def __init__(self, state: Path, timeout: float = 9.0) -> None:
        document = (SAMPLES / "shop" / "web.yaml").read_bytes()
        blob = compile_flags(document, environment="production", version=7)
        page, records = Page(1), list[ProjectRecord]()
        store = Store(page, records.append)
        published = SnapshotFiles(state).write(PRODUCTION, 7, blob)
        store.install(PROJECT, (published,), version=7, document=b"d", compiler="c")
        store.install_keys(
            PROJECT, [KeyGrant(keys.digest_of(SHOP), "DemoShopServer00", KeyKind.SERVER, ("production",))]
        )
        page.position = Journal(state).append(records)
        page.confirmed_at = time.monotonic()
        catalog = Catalog(state, page, page.block(0), budget=1 << 30)
        catalog.refresh()
        self.wire = Wire()
        timeouts = {f"{each}_timeout": timeout for each in ("head", "body", "keepalive")}
        front: Any = Front
        admission = Admission(page, page.block(0), Quotas(), shed_after=0.0, call_soon=self.call_soon)
        self.front = front(
            self, catalog, page, page.block(0), admission, lambda: self.wire, max_body=1 << 23, **timeouts
        )

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.wire.call_soon(callback)

    def connect(self, wire: Wire, sent: bytes) -> None:
        connection = cast(Any, self.front())
        connection.connection_made(wire)
        connection.data_received(sent)

    def feed(self, parts: list[bytes]) -> tuple[bytes, bytes | None, bool]:
        """(what was answered, what aiohttp got, was it closed?)"""
        wire = self.wire = Wire()
        connection = cast(Any, self.front())
        connection.connection_made(wire)
        for part in parts:
            if wire.closed:
                break
            (connection if wire.handed_over is None else wire).data_received(part)
            while wire.soon:
                wire.soon.pop(0)()
        if not wire.closed:
            connection.connection_lost(None)
        return wire.written, wire.handed_over, wire.closed


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def expected_of(whole: bytes) -> tuple[int, bytes | None]:
    """(how many requests are the front's, which bytes then are not), by the scanner alone; each taken is checked."""
    taken = 0
    while whole:
        found = scan(whole)
        if found is None:
            return taken, None  # more is needed
        if not isinstance(found, tuple):
            return taken, whole
        if f"Bearer {SHOP}".encode() not in whole[: found[1]]:
            return taken, whole  # for a key that opens nothing, even before its body is there
        if len(whole) < found[1] + found[2]:
            return taken, None
        check_accepted(whole, found[1], found[2])
        taken += 1
        if b"\r\nconnection: close\r\n" in whole[: found[1]].lower():
            return taken, None
        whole = whole[found[1] + found[2] :]
    return taken, None


def check(bench: Bench, whole: bytes, ways: list[list[bytes]]) -> int:
    result = bench.feed([whole])
    taken, others = expected_of(whole)
    written, handed_over, _ = result
    assert (written.count(b"HTTP/1.1 "), handed_over) == (taken, others), whole
    for parts in ways:
        assert bench.feed(parts) == result, parts
    return taken


def bytewise(whole: bytes) -> list[bytes]:
    return [bytes([each]) for each in whole]


def parts_of(whole: bytes, rng: random.Random) -> list[bytes]:
    cuts = sorted({rng.randrange(len(whole) + 1) for _ in range(rng.choice((1, 2, 3, 8, 30)))} | {0, len(whole)})
    return [whole[a:b] for a, b in pairwise(cuts)]


@pytest.mark.parametrize("name", [*SMUGGLING, *(f"valid {n}" for n in range(len(VALID)))])
def test_the_corpus_between_right_requests(bench: Bench, name: str) -> None:
    strange = SMUGGLING.get(name) or VALID[int(name.split()[1])]
    whole = message() + strange + message(f"{BULK}/reviews")
    ways = [bytewise(whole)] if len(whole) < 20_000 else []
    if len(whole) < 2_000:
        ways += [[whole[:cut], whole[cut:]] for cut in range(1, len(whole))]
    assert check(bench, whole, ways) >= 1


def test_sequences(bench: Bench) -> None:
    rng = random.Random(20261122)
    taken = 0
    for _ in range(SEQUENCES):
        count = rng.choice((1, 2, 3, 8, 70))
        whole = b"".join(rng.choice(VALID[:8]) if rng.random() < 0.9 else mutated(rng) for _ in range(count))
        taken += check(bench, whole, [bytewise(whole)] + [parts_of(whole, rng) for _ in range(3)])
    assert taken > SEQUENCES


def test_mutated_messages_are_read_as_others_read_them() -> None:
    rng = random.Random(77)
    accepted = 0
    for _ in range(SEQUENCES * 30):
        whole = mutated(rng)
        found = scan(whole)
        if isinstance(found, tuple) and found[1] + found[2] <= len(whole):
            accepted += 1
            check_accepted(whole, found[1], found[2])
    assert accepted > SEQUENCES
