"""What hosts report, over a real socket; waiting for all of them; and what a control plane that is new knows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from server.control.host_reports import add_host_routes
from server.control.hosts import SILENT, Hosts
from server.record import tables
from server.record.database import Record, open_record
from server.record.schema import open_migrated
from server.shared.page import Page
from server.state.committed import Committed
from server.state.records import ProjectRecord
from server.sync.asking import UNIX, Asker
from server.sync.messages import HostReport
from server.sync.reporting import Reporter, Standing
from server.sync.scope import ALL, Scope
from server.sync.trials import Trials
from server.types import EnvironmentId, ProjectId
from tests.server.canary.hosts import with_hosts

WEB = ProjectId("shop", "web")
PRODUCTION = EnvironmentId("shop", "web", "production")
PATIENCE = 30.0


def report(
    number: int = 0, projects: dict[str, int] | None = None, *, workers: int = 2, held: bool = False
) -> HostReport:
    return HostReport(projects=projects or {}, workers=workers, held=held, started_at="then", number=number)


def test_what_changed_is_added_to_what_was_said(tmp_path: Path) -> None:
    async def work(hosts: Hosts) -> None:
        assert not hosts.hear("a", report(1, {"shop/web": 2}))  # what came before was not heard
        assert hosts.hear("a", report(0, {"shop/web": 1, "shop/api": 7}))
        assert hosts.hear("a", report(1, {"shop/web": 2}))
        assert not hosts.hear("a", report(3, {"shop/web": 3}))
        (host,) = hosts
        assert host.report.projects == {"shop/web": 2, "shop/api": 7}
        assert hosts.hear("a", report(0, {"shop/web": 3}))
        (host,) = hosts
        assert host.report.projects == {"shop/web": 3}

    with_hosts(tmp_path, work)


def test_waiting_until_all_have_it(tmp_path: Path) -> None:
    async def work(hosts: Hosts) -> None:
        assert not (await hosts.wait_for(PRODUCTION, 2, timeout=0.01)).done  # there is no host
        for name in ("a", "b"):
            hosts.hear(name, report(0, {"shop/web": 1}))
        hosts.hear("held", report(0, {"shop/web": 1}, held=True))
        hosts.hear("edge", report(0, {"bank/app": 1}), Scope("bank"))
        waiting = asyncio.create_task(hosts.wait_for(PRODUCTION, 2, timeout=PATIENCE))
        hosts.hear("a", report(1, {"shop/web": 2}))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        hosts.hear("b", report(1, {"shop/web": 3}))
        found = await waiting
        assert found.done and found.silent == ()
        assert [(each.host, each.number, each.done, each.held) for each in found.hosts] == [
            ("a", 2, True, False),
            ("b", 3, True, False),
            ("held", 1, False, True),
        ]
        found = await hosts.wait_for(PRODUCTION, 3, timeout=0.01)
        assert not found.done and [each.done for each in found.hosts] == [False, True, False]

    with_hosts(tmp_path, work)


def test_a_silent_host_is_named_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(hosts: Hosts) -> None:
        hosts.hear("gone", report(0, {"shop/web": 1}))
        later = time.time() + SILENT + 1
        monkeypatch.setattr(time, "time", lambda: later)
        hosts.hear("here", report(0, {"shop/web": 2}))
        found = await hosts.wait_for(PRODUCTION, 2, timeout=PATIENCE)
        assert found.done and found.silent == ("gone",) and [each.host for each in found.hosts] == ["here"]

    with_hosts(tmp_path, work)


def test_a_host_without_workers_has_nothing(tmp_path: Path) -> None:
    async def work(hosts: Hosts) -> None:
        hosts.hear("a", report(0, {"shop/web": 2}, workers=0))
        assert not (await hosts.wait_for(PRODUCTION, 2, timeout=0.01)).done

    with_hosts(tmp_path, work)


def test_an_edge_speaks_for_its_scope_alone(tmp_path: Path) -> None:
    async def work(hosts: Hosts) -> None:
        hosts.hear("a", report(0, {"shop/web": 1}))
        hosts.hear("a", report(0, {"shop/web": 9, "bank/app": 4}), Scope("bank"))
        assert {host.name: host.report.projects for host in hosts} == {"a": {"shop/web": 1}, "bank:a": {"bank/app": 4}}

    with_hosts(tmp_path, work)


def test_another_control_plane_knows_them(database_url: str) -> None:
    async def run() -> None:
        record = await open_migrated(database_url)
        other = await open_record(database_url)
        first, second = Hosts(record), Hosts(other)
        running = [asyncio.create_task(each.run()) for each in (first, second)]
        first.hear("edge", report(0, {"shop/web": 2}), Scope("shop", "web", ("production",)))
        found = await second.wait_for(PRODUCTION, 2, timeout=PATIENCE)
        assert found.done and [each.host for each in found.hosts] == ["shop/web/production:edge"]
        assert not second.hear("edge", report(1), Scope("shop", "web", ("production",)))  # it has to say all of it
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await record.close()
        await other.close()

    asyncio.run(run())


class Control:
    """A control plane that hears reports on a Unix socket, and can go away."""

    def __init__(self, record: Record, path: Path) -> None:
        self.hosts = Hosts(record)
        self._path = path
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        async def everything(_: web.Request) -> Scope:
            return ALL

        app = web.Application()
        add_host_routes(app, self.hosts, everything)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._path)).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def until(self, holds: Callable[[dict[str, int]], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds(next((host.report.projects for host in self.hosts), {})):
                await asyncio.sleep(0.01)


def test_a_reporter_tells_what_every_worker_has(tmp_path: Path) -> None:
    async def run() -> None:
        record = await open_migrated(f"sqlite:///{tmp_path}/record.db")
        page, path = Page(2), tmp_path / "control.sock"
        committed = Committed(10, [ProjectRecord(*WEB, version=1)])
        blocks = [page.block(0), page.block(1)]
        for block in blocks:
            block.pid, block.position = 1, 10
        page.position = 10
        asker = Asker(f"{UNIX}{path}")
        told = Standing("control", False, ((WEB, "it does not verify"),))
        reporter = Reporter(committed, Trials(committed, 2), page, [asker], host="here", standing=lambda: told)
        control = Control(record, path)
        reporting = asyncio.create_task(reporter.run())  # nobody hears it yet
        await asyncio.sleep(0.1)
        await control.start()
        await control.until(lambda projects: projects == {"shop/web": 1})
        (host,) = control.hosts
        assert (host.report.workers, host.report.source, host.report.behind) == (
            2,
            "control",
            {"shop/web": told.behind[0][1]},
        )

        committed.note([ProjectRecord(*WEB, version=2), ProjectRecord("bank", "app", version=1)], 20)
        page.position = blocks[0].position = 20
        reporter.wake()
        await asyncio.sleep(0.1)
        assert next(iter(control.hosts)).report.projects == {"shop/web": 1}  # one worker does not have it
        blocks[1].position = 20
        await control.until(lambda projects: projects == {"shop/web": 2, "bank/app": 1})

        await control.stop()
        control = Control(record, path)  # which knows nothing
        await control.start()
        blocks[0].pid = 0  # a worker that has gone is not waited for
        committed.note([ProjectRecord(*WEB, version=3)], 30)
        page.position = blocks[1].position = 30
        reporter.wake()
        await control.until(lambda projects: projects == {"shop/web": 3, "bank/app": 1})

        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)
        await asker.close()
        await control.stop()
        await record.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/sync/hosts/a", b'{"projects": {"shop/web": 1}}', 204),
        ("/v1/sync/hosts/a", b'{"number": 7}', 409),
        ("/v1/sync/hosts/a", b'{"projects": {"shop/web": "1"}}', 400),
        ("/v1/sync/hosts/a", b"\xff", 400),
        ("/v1/sync/hosts/a%2Fb", b"{}", 404),
        ("/v1/sync/hosts/" + 200 * "a", b"{}", 404),
    ],
)
def test_what_the_route_answers(tmp_path: Path, path: str, body: bytes, status: int) -> None:
    async def run() -> None:
        record = await open_migrated(f"sqlite:///{tmp_path}/record.db")
        control = Control(record, tmp_path / "control.sock")
        await control.start()
        connector = aiohttp.UnixConnector(str(tmp_path / "control.sock"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.put(f"http://control{path}", data=body) as answer,
        ):
            assert answer.status == status
        await control.stop()
        await record.close()

    asyncio.run(run())


def test_rows_of_hosts_that_are_long_gone_go(tmp_path: Path) -> None:
    async def work(hosts: Hosts) -> None:
        record = hosts._record
        async with record.change() as tx:
            await tx.execute(tables.hosts.insert().values(name="old", at=1.0, body='{"report":{}}'))
            await tx.execute(tables.hosts.insert().values(name="strange", at=time.time(), body="{}"))
        hosts.hear("new", report())
        running = asyncio.create_task(hosts.run())
        async with asyncio.timeout(PATIENCE):
            while True:
                async with record.look() as tx:
                    names = set(await tx.scalars(tables.hosts.select().with_only_columns(tables.hosts.c.name)))
                if names == {"new", "strange"}:
                    break
                await asyncio.sleep(0.05)
        assert [host.name for host in hosts] == ["new"]
        running.cancel()

    with_hosts(tmp_path, work)
