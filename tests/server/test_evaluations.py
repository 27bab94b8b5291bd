"""How often each flag answered what: every evaluation is counted once, whatever dies, changes or is let go."""

from __future__ import annotations

import asyncio
import csv
import http.client
import io
import json
import os
import signal
import sqlite3
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from rules_compiler import compile_flags
from server.evaluations.collector import Collector
from server.evaluations.database import FILE, Database, DatabaseThread
from server.evaluations.flags import KEEP_GONE, prune
from server.evaluations.messages import Counted, encoded
from server.evaluations.series import MOST_SERIES, EnvironmentSeries
from server.evaluations.tally import Tally
from server.files import write_atomically
from server.processes.sockets import Doors
from server.shared.page import Page
from server.state.catalog import Catalog
from server.state.journal import Journal
from server.state.records import ProjectRecord
from server.state.snapshots import SnapshotFiles
from server.state.store import Store
from server.types import EnvironmentId, KeyKind
from tests.server.conftest import add_key
from tests.server.running import BATCH, BULK, SHOP, Running, running, until

APP = "acme/app/default"
LARGE = 100 if os.environ.get("BURGEE_PROFILE") == "nightly" else 1

Counts = Counter[tuple[str, str | None]]


def document(word: str = "a", environments: str = "[default]") -> bytes:
    return f"""
environments: {environments}
flags:
  constant: {{type: string, variants: {{{word}: x}}, offVariant: {word}, fallthrough: {word}, clientVisible: true}}
  by-plan: {{type: boolean, variants: {{"on": true, "off": false}}, offVariant: "off", fallthrough: "off",
    rules: [{{when: 'plan == "pro"', serve: "on"}}]}}
  halves: {{type: boolean, variants: {{"on": true, "off": false}}, offVariant: "off",
    fallthrough: {{split: [{{variant: "on", weight: 50}}, {{variant: "off", weight: 50}}]}}}}
""".encode()


@pytest.fixture
def key(tenants: Path) -> str:
    (tenants / "acme" / "app.yaml").write_bytes(document())
    return add_key(tenants)


def counted(server: Running, environment: str = APP) -> Counts:
    rows = server.manage(f"/evaluations?environment={environment}&limit=1000").json["evaluations"]
    return Counter({(row["flag"], row["variant"]): row["count"] for row in rows})


def answers(reply: Any) -> Counts:
    """What a reply says, as it is to be counted."""
    if "outcomes" in reply:
        return Counter(
            (flag, outcomes[index].get("variant") if index >= 0 else None)
            for row in reply["results"]
            for flag, outcomes, index in zip(reply["flags"], reply["outcomes"], row, strict=True)
            if outcomes[0].get("errorCode") != "FLAG_NOT_FOUND"
        )
    assert reply.get("errorCode") in (None, "FLAG_NOT_FOUND", "TARGETING_KEY_MISSING"), reply
    rows = reply.get("results") or [reply if "flags" in reply else {"flags": [reply]}]
    return Counter(
        (each["key"], each.get("variant"))
        for row in rows
        for each in row["flags"]
        if each.get("errorCode") != "FLAG_NOT_FOUND"
    )


def in_aiohttp(server: Running, path: str, body: Any, key: str) -> Any:
    """Chunked, which the front leaves to aiohttp."""
    with closing(http.client.HTTPConnection(*server.address, timeout=60)) as connection:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("POST", path, iter([json.dumps(body).encode()]), headers, encode_chunked=True)
        return json.loads(connection.getresponse().read())


def ask_everything(server: Running, *keys: str) -> Counts:
    total: Counts = Counter()
    contexts = [{"targetingKey": f"u-{n}", "plan": ["pro", "free"][n % 2]} for n in range(5)] + [{}]
    for key in keys:
        for each in contexts:
            asked = {"context": each}
            for path in (BULK, f"{BULK}/halves", f"{BULK}/by-plan", f"{BULK}/nothing"):
                total += answers(server.post(path, asked, key=key).json)
                total += answers(in_aiohttp(server, path, asked, key))
        for more in ({}, {"format": "compact"}, {"flags": ["constant", "nothing"]}):
            batch = {"contexts": contexts, **more}
            total += answers(server.post(BATCH, batch, key=key).json)
            packed = server.post(BATCH, batch, key=key, headers={"Accept": "application/msgpack"})
            total += answers(msgspec.msgpack.decode(packed.body))
        assert server.post(BULK, b"{", key=key).status == 400
        tag = server.post(BULK, {"context": {}}, key=key)
        total += answers(tag.json)
        again = server.post(BULK, {"context": {}}, key=key, headers={"If-None-Match": tag.headers["etag"]})
        assert again.status == 304
    return total


def metric(server: Running, name: str) -> float:
    text = server.manage("/metrics").body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def pid_of(server: Running, slot: str) -> int:
    """The latest process of a slot."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return int([each for each in lines if each.get("slot") == slot and each["event"] == "started"][-1]["pid"])


def children_of(server: Running) -> list[int]:
    pid = server.process.pid
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers_of(server: Running) -> list[dict[str, Any]]:
    workers: list[dict[str, Any]] = server.manage("/status").json["workers"]
    return workers


OPTIONS = ("--workers", "2", "--counts-interval", "0.1")


def test_all_endpoints_count_what_they_answer(tenants: Path, key: str, tmp_path: Path) -> None:
    client = add_key(tenants, kind=KeyKind.CLIENT)
    options = (*OPTIONS, "--state", str(tmp_path / "state"), "--metrics-environments", "acme/*", "--metrics-flags", "*")
    with running(tenants, *options) as server:
        expected = ask_everything(server, key, client)
        until(lambda: counted(server) == expected)
        assert metric(server, "burgee_environment_evaluations_total{") == expected.total()
        assert metric(server, "burgee_flag_evaluations_total{") == expected.total()
        assert metric(server, "burgee_environment_version{") == server.status_of(APP)["version"]
        assert 0 <= metric(server, "burgee_environment_age_seconds{") < 60
        evaluations = metric(server, "burgee_evaluations_total ")
        assert evaluations >= expected.total()  # with flags that do not exist, which a batch has

        write_atomically(tenants / "acme" / "app.yaml", document("b"))

        def is_new() -> bool:
            nonlocal expected
            reply = server.post(f"{BULK}/constant", {"context": {}}, key=key).json
            expected += answers(reply)
            return bool(reply["variant"] == "b")

        until(is_new)
        expected += ask_everything(server, key)
        os.kill(pid_of(server, "agent"), signal.SIGKILL)
        expected += ask_everything(server, key)
        until(lambda: server.log.read_text().count('"loaded"') == 2)
        until(lambda: counted(server) == expected)
        assert metric(server, "burgee_evaluation_counts_lost_total") == 0
        before = counted(server)
        assert server.stop() == 0
    with running(tenants, *options) as server:  # the counts are on disk
        assert counted(server) == before
        last = ask_everything(server, key)
        assert server.stop() == 0  # and a process that leaves hands over what it has
    with running(tenants, *options) as server:
        assert counted(server) == before + last


def test_an_agent_that_is_killed_loses_nothing(tenants: Path, key: str, tmp_path: Path) -> None:
    expected: Counts = Counter()
    with running(tenants, *OPTIONS, "--state", str(tmp_path / "state")) as server:
        for round in range(3):
            for n in range(100):
                expected += answers(server.post(BULK, {"context": {"targetingKey": f"{n}"}}, key=key).json)
                if n == 50:
                    os.kill(pid_of(server, "agent"), signal.SIGKILL)
            until(lambda round=round: server.log.read_text().count('"loaded"') == round + 2)  # type: ignore[misc]
        until(lambda: counted(server) == expected)


def test_replacing_all_processes_loses_nothing(tenants: Path, key: str, tmp_path: Path) -> None:
    expected: Counts = Counter()
    with running(tenants, *OPTIONS, "--state", str(tmp_path / "state")) as server:
        first = {pid_of(server, slot) for slot in ("agent", "worker 0", "worker 1")}
        server.process.send_signal(signal.SIGHUP)

        def all_are_new() -> bool:
            nonlocal expected
            expected += answers(server.post(BULK, {"context": {"targetingKey": "u"}}, key=key).json)
            now = {pid_of(server, slot) for slot in ("agent", "worker 0", "worker 1")}
            return not first & now and not first & set(children_of(server))

        until(all_are_new)
        until(lambda: counted(server) == expected)


def test_a_worker_that_is_killed_loses_at_most_an_interval(tenants: Path, key: str, tmp_path: Path) -> None:
    options = ("--workers", "1", "--counts-interval", "0.1", "--state", str(tmp_path / "state"))
    with running(tenants, *options) as server:
        safe = sum((answers(server.post(BULK, {"context": {}}, key=key).json) for _ in range(20)), Counter())
        until(lambda: counted(server) == safe)
        risked = sum((answers(server.post(BULK, {"context": {}}, key=key).json) for _ in range(5)), Counter())
        killed = pid_of(server, "worker 0")
        os.kill(killed, signal.SIGKILL)
        until(lambda: pid_of(server, "worker 0") != killed)
        until(
            lambda: [each["pid"] for each in server.manage("/status").json["workers"]] == [pid_of(server, "worker 0")]
        )
        after = sum((answers(server.post(BULK, {"context": {}}, key=key).json) for _ in range(7)), Counter())
        until(lambda: counted(server) >= safe + after)
        assert counted(server) <= safe + risked + after


def test_snapshots_that_are_let_go_hand_over_their_counts(tenants: Path, tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    flag = f"{{type: string, variants: {{v: {'x' * 50_000}}}, offVariant: v, fallthrough: v}}"
    large = "".join(f"  large-{n}: {flag}\n" for n in range(8))
    (tenants / "acme" / "app.yaml").write_bytes(document(environments="[a, b, c, d]") + large.encode())
    keys = {name: add_key(tenants, name) for name in names}
    expected: dict[str, Counts] = {name: Counter() for name in names}
    # An interval beyond the test's: only what is let go, or leaves, counts.
    options = ("--workers", "1", "--memory-budget", str(1 << 20), "--counts-interval", "3600")
    with running(tenants, *options, "--state", str(tmp_path / "state")) as server:
        for n in range(40):
            name = names[n % 4]
            asked = {"context": {"targetingKey": f"{n}"}}
            expected[name] += answers(server.post(f"{BULK}/halves", asked, key=keys[name]).json)
        assert metric(server, "burgee_snapshot_evictions_total") > 10
        assert server.stop() == 0
    with running(tenants, *options, "--state", str(tmp_path / "state")) as server:
        for name in names:
            assert counted(server, f"acme/app/{name}") == expected[name]


def test_without_an_interval_nothing_is_counted_but_the_total(tenants: Path, key: str, tmp_path: Path) -> None:
    options = ("--workers", "1", "--counts-interval", "0", "--state", str(tmp_path / "state"))
    with running(tenants, *options) as server:
        asked = answers(server.post(BULK, {"context": {}}, key=key).json)
        until(lambda: metric(server, "burgee_evaluations_total ") == asked.total())
        assert counted(server) == Counter()


# ---- the export ----


@pytest.fixture(scope="module")
def shop(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    state = tmp_path_factory.mktemp("counts") / "state"
    with running(samples, *OPTIONS, "--state", str(state)) as server:
        for n in range(30):
            server.post(f"{BULK}/home-page", {"context": {"targetingKey": f"{n}"}}, key=SHOP)
            server.post(f"{BULK}/reviews", {"context": {}}, key=SHOP)
        until(lambda: counted(server, PRODUCTION).total() == 60)
        yield server


PRODUCTION = "shop/web/production"


def test_rows_have_moments_and_come_in_pages(shop: Running) -> None:
    rows = shop.manage(f"/evaluations?environment={PRODUCTION}").json["evaluations"]
    assert [(each["flag"], each["count"]) for each in rows if each["flag"] == "reviews"] == [("reviews", 30)]
    assert all("2026" <= each["firstAt"] <= each["lastAt"] for each in rows)
    seen: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = shop.manage(f"/evaluations?environment={PRODUCTION}&all=true&limit=2&after={after}").json
        assert len(page["evaluations"]) <= 2
        seen += page["evaluations"]
        after = page["next"]
    assert seen == shop.manage(f"/evaluations?environment={PRODUCTION}&all=true&limit=1000").json["evaluations"]
    assert [each for each in seen if each["count"]] == rows
    never = [each["flag"] for each in seen if not each["count"]]
    assert "new-checkout" in never and len(never) > 5 and not {"reviews", "home-page"} & set(never)


def test_rows_by_tenant_and_flag(shop: Running) -> None:
    rows = shop.manage(f"/evaluations?environment={PRODUCTION}").json["evaluations"]
    assert shop.manage("/evaluations?tenant=shop").json["evaluations"] == rows
    assert shop.manage("/evaluations").json["evaluations"] == rows
    assert shop.manage("/evaluations?tenant=sho").json["evaluations"] == []
    by_flag = shop.manage("/evaluations?tenant=shop&flag=reviews").json["evaluations"]
    assert by_flag == [each for each in rows if each["flag"] == "reviews"]
    by_flag = shop.manage(f"/evaluations?environment={PRODUCTION}&flag=new-checkout&all=true").json["evaluations"]
    assert [(each["flag"], each["count"], each["lastAt"]) for each in by_flag] == [("new-checkout", 0, None)]


def test_rows_as_csv(shop: Running) -> None:
    with closing(http.client.HTTPConnection(shop.management.removeprefix("http://"), timeout=60)) as connection:
        path = f"/evaluations?environment={PRODUCTION}&limit=1"
        connection.request("GET", path, headers={"Accept": "text/csv"})
        answer = connection.getresponse()
        assert answer.headers["Content-Type"].startswith("text/csv") and 'rel="next"' in answer.headers["Link"]
        rows = list(csv.DictReader(io.StringIO(answer.read().decode())))
    assert [{**each, "count": str(each["count"])} for each in shop.manage(path).json["evaluations"]] == rows


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("environment=shop", 400),
        ("environment=a/b/c/d", 400),
        ("environment=shop/web/nowhere", 404),
        ("environment=nobody/web/production", 404),
        (f"environment={PRODUCTION}&tenant=bank", 400),
        ("all=true", 400),
        (f"environment={PRODUCTION}&all=yes", 400),
        ("limit=0", 400),
        ("limit=1001", 400),
        ("after=x", 400),
        ("after=" + quote("\u0663"), 400),
        ("enviroment=x", 400),
        (f"environment={quote(PRODUCTION + chr(0))}", 404),
    ],
)
def test_what_makes_no_sense_is_refused(shop: Running, query: str, status: int) -> None:
    assert shop.manage(f"/evaluations?{query}").status == status


# ---- its parts ----


def message(number: int, environment: str = APP, flag: str = "f", count: int = 1, at: int = 1000) -> Counted:
    return Counted(7, number, at, ((environment, ((flag, "on", count),)),))


def totals(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        return dict(connection.execute("SELECT environment || ':' || flag, sum(count) FROM evaluations GROUP BY 1"))


def test_a_message_counts_once(tmp_path: Path) -> None:
    """As when an agent is killed between committing it and taking it off the door."""
    database = Database(tmp_path)
    assert database.add([(0, message(1)), (1, message(1))]) == [True, True]
    assert database.add([(0, message(1)), (1, message(2))]) == [False, True]
    database.close()
    assert Database(tmp_path).add([(1, message(2))]) == [False]
    assert totals(tmp_path) == {f"{APP}:f": 3}


@pytest.mark.parametrize("junk", [b"no database" * 1000, None])
def test_a_damaged_file_is_moved_aside(tmp_path: Path, junk: bytes | None) -> None:
    path = tmp_path / FILE
    if junk is None:  # one of another format
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        path.write_bytes(junk)
    database = Database(tmp_path)
    assert database.add([(0, message(1))]) == [True]
    assert totals(tmp_path) == {f"{APP}:f": 1}
    assert (tmp_path / f"{FILE}.damaged").exists()


def test_a_file_that_is_damaged_while_it_is_used(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.add([(0, message(n, flag=f"flag-{n}" * 20)) for n in range(500)])
    database.close()
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))
    database = Database(tmp_path)
    database.add([(0, message(1))])
    assert totals(tmp_path) == {f"{APP}:f": 1}


def test_what_cannot_be_written_waits_in_the_doors(tmp_path: Path) -> None:
    folder = tmp_path / "state"  # not there yet
    doors = Doors.open(2)
    failures: list[int] = []
    heard: list[Counted] = []

    async def run() -> None:
        thread = DatabaseThread(folder)
        collector = Collector(doors.agent, thread, heard.append, lambda: failures.append(1))
        doors.worker[0].send(b"something else")
        doors.worker[0].send(encoded(message(1)))
        doors.worker[1].send(encoded(message(1)))
        await collector.finish()
        assert failures and not heard
        folder.mkdir()
        await collector.finish()
        await thread.close()

    asyncio.run(run())
    assert totals(folder) == {f"{APP}:f": 2}
    assert len(heard) == 2


@pytest.fixture
def state(tmp_path: Path) -> tuple[Path, ProjectRecord]:
    """A state folder with one project and its snapshot."""
    environment = EnvironmentId("acme", "app", "default")
    blob = compile_flags(document(), environment="default", version=1, flag_set_id=APP)
    files = SnapshotFiles(tmp_path)
    published = files.write(environment, 1, blob)
    return tmp_path, ProjectRecord("acme", "app", (published,), version=1)


def test_a_full_door_leaves_the_counts_where_they_are(state: tuple[Path, ProjectRecord]) -> None:
    folder, record = state
    page, doors = Page(1), Doors.open(1)
    journal = Journal(folder)
    page.position = journal.append([record]) or journal.position
    block = page.block(0)
    catalog = Catalog(folder, page, block, budget=1 << 20)
    tally = Tally(catalog, block, doors.worker[0], 0.01, lambda: 0)
    catalog.refresh()
    asked = 0

    async def run() -> None:
        nonlocal asked
        running = asyncio.create_task(tally.run())
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not is_full(doors):
            served = catalog.served(EnvironmentId("acme", "app", "default"))
            assert served is not None
            served.snapshot.evaluate_json(b'{"context": {}}', "constant")
            asked += 1
            await asyncio.sleep(0.001)
        assert is_full(doors)
        for _ in range(50):
            served = catalog.served(EnvironmentId("acme", "app", "default"))
            assert served is not None
            served.snapshot.evaluate_json(b'{"context": {}}', "constant")
            asked += 1
            await asyncio.sleep(0.002)
        thread = DatabaseThread(folder)
        collector = Collector(doors.agent, thread, lambda _: None, lambda: None)
        await collector.finish()
        running.cancel()
        await tally.finish()
        await collector.finish()
        await thread.close()

    asyncio.run(run())
    assert totals(folder) == {f"{APP}:constant": asked}
    assert block.evaluations == asked


def is_full(doors: Doors) -> bool:
    try:
        doors.worker[0].send(b"?")
    except BlockingIOError:
        return True
    return False


def test_what_is_gone_is_forgotten_after_a_while(state: tuple[Path, ProjectRecord]) -> None:
    folder, record = state
    store, files = Store(Page(1), lambda _: None, [record]), SnapshotFiles(folder)
    now = KEEP_GONE + 10_000

    async def run() -> int:
        thread = DatabaseThread(folder)
        old = [(APP, "constant"), (APP, "gone"), ("acme/app/gone", "constant"), ("x/y/z", "f")]
        messages = [(0, message(n, *each, at=9_999)) for n, each in enumerate(old)]
        messages += [(0, message(10, "acme/app/gone", "used", at=10_001))]
        await thread.call(lambda database: database.add(messages))
        forgotten = await prune(thread, store, files, now)
        await thread.close()
        return forgotten

    assert asyncio.run(run()) == 3
    assert totals(folder) == {f"{APP}:constant": 1, "acme/app/gone:used": 1}


def test_the_agent_does_not_grow_with_what_it_counts(tmp_path: Path) -> None:
    """10,000 environments of 100 flags with `BURGEE_PROFILE=nightly`, else 100."""
    doors = Doors.open(1)

    async def run() -> int:
        thread = DatabaseThread(tmp_path)
        collector = Collector(doors.agent, thread, lambda _: None, lambda: None)
        await collector.finish()
        tracemalloc.start()
        for n in range(100 * LARGE):
            rows = tuple((f"flag-{flag}", "on", 1) for flag in range(100))
            doors.worker[0].send(encoded(Counted(7, n, 1000, ((f"tenant-{n}/web/production", rows),))))
            await collector.finish()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await thread.close()
        return peak

    assert asyncio.run(run()) < 2 << 20
    assert sum(totals(tmp_path).values()) == 100 * 100 * LARGE


def test_series_are_bounded() -> None:
    store = Store(Page(1), lambda _: None)
    series = EnvironmentSeries(store, environments="", top=5, flags="*")
    for n in range(MOST_SERIES + 50):
        series.hear(message(n, flag=f"flag-{n}"))
    samples = [sample for family in series.collect() for sample in family.samples]
    assert (
        len(samples) == MOST_SERIES - 2 + 1
    )  # an environment that is gone has no age and version; how many are left out
    assert samples[-1].value == 50 + 3
