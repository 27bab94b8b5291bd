"""What a host with an edge key may say: of what it is sent, in few and short words, and not too often."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientSession, web

from server.control.host_reports import LARGEST_OF_SCOPE, add_host_routes
from server.control.hosts import OF_A_SCOPE, SILENT, Hosts
from server.record.database import open_record
from server.record.schema import open_migrated
from server.sync.messages import CanaryReport, HostReport
from server.sync.scope import ALL, Scope
from server.types import EnvironmentId, ProjectId
from tests.server.canary.hosts import with_hosts

WEB = ProjectId("shop", "web")
PRODUCTION = EnvironmentId("shop", "web", "production")
STAGING = EnvironmentId("shop", "web", "staging")
OF_STAGING = Scope("shop", "web", ("staging",))


def test_an_edge_of_staging_says_nothing_of_production(tmp_path: Path) -> None:
    async def work(hosts: Hosts) -> None:
        said = CanaryReport(version=2, complaint="it is bad")
        report = HostReport(canaries={str(PRODUCTION): said, str(STAGING): said}, behind={str(WEB): "no"}, workers=1)
        hosts.hear("edge", report, OF_STAGING)
        assert hosts.canary_reports(PRODUCTION, 2) == {}
        assert hosts.canary_reports(STAGING, 2) == {"shop/web/staging:edge": said}
        assert not hosts.stuck_at(WEB)
        assert [each.host for each in hosts.state_of(PRODUCTION, 1).hosts] == []  # nobody waits for it there
        await hosts._store()
        other = Hosts(hosts._record)
        await other._read()
        assert [each.scope for each in other] == [OF_STAGING] and not other.stuck_at(WEB)
        hosts.hear("edge", report, Scope("shop", "web"))
        assert hosts.stuck_at(WEB)

    with_hosts(tmp_path, work)


def test_texts_are_short(tmp_path: Path) -> None:
    async def work(hosts: Hosts) -> None:
        long = "x\x00" * 100_000
        said = CanaryReport(version=2, complaint=long)
        report = HostReport(behind={str(WEB): long}, source=long, version=long, started_at=long)
        hosts.hear("a", msgspec.structs.replace(report, canaries={str(PRODUCTION): said}))
        (host,) = hosts
        found = host.report
        texts = (found.behind[str(WEB)], found.canaries[str(PRODUCTION)].complaint)
        assert {len(each) for each in texts} == {500} and not any("\x00" in each for each in texts)
        assert {len(each) for each in (found.source, found.version, found.started_at)} == {100}
        assert hosts.hear("a", HostReport(number=1, started_at=long))  # it is still the same agent

    with_hosts(tmp_path, work)


def test_an_edge_key_invents_few_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(hosts: Hosts) -> None:
        hosts.hear("first", HostReport(), OF_STAGING)
        for number in range(OF_A_SCOPE - 1):
            assert hosts.admits(f"edge-{number}", OF_STAGING)
            hosts.hear(f"edge-{number}", HostReport(), OF_STAGING)
        assert not hosts.admits("one-more", OF_STAGING)
        assert hosts.admits("edge-0", OF_STAGING) and hosts.admits("edge", Scope("shop")) and hosts.admits("own", ALL)
        await hosts._store()
        later = time.time() + SILENT + 1
        monkeypatch.setattr(time, "time", lambda: later)
        assert hosts.admits("one-more", OF_STAGING)  # in place of one that is gone
        hosts.hear("one-more", HostReport(), OF_STAGING)
        await hosts._read()
        await hosts._store()
        other = Hosts(hosts._record)
        await other._read()
        for each in (hosts, other):
            names = {host.name.partition(":")[2] for host in each}
            assert len(names) == OF_A_SCOPE and "one-more" in names and "first" not in names

    with_hosts(tmp_path, work)


@pytest.mark.parametrize(("scope", "status"), [(ALL, 204), (OF_STAGING, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_report_is_for_those_who_have_all(tmp_path: Path, scope: Scope, status: int, chunked: bool) -> None:
    async def work(hosts: Hosts) -> None:
        async def authorise(_: web.Request) -> Scope:
            return scope

        app = web.Application(client_max_size=16 << 20)
        add_host_routes(app, hosts, authorise)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        body = b"{" + b" " * (2 * LARGEST_OF_SCOPE) + b"}"

        async def pieces() -> object:
            for start in range(0, len(body), 1 << 16):
                yield body[start : start + (1 << 16)]

        async with ClientSession() as session:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/sync/hosts/a"
            async with session.put(url, data=pieces() if chunked else body) as answer:
                assert answer.status == status
        await runner.cleanup()

    with_hosts(tmp_path, work)


def test_two_control_planes_hear_one_host_first_at_once(database_url: str) -> None:
    async def run() -> None:
        record = await open_migrated(database_url)
        other = await open_record(database_url)
        for attempt in range(5):
            planes = [Hosts(record), Hosts(other)]
            for plane, numbers in zip(planes, (range(20), reversed(range(20))), strict=True):
                for number in numbers:
                    plane.hear(f"edge-{attempt}-{number}", HostReport(workers=1))
            await asyncio.gather(*(each._store() for each in planes))
        third = Hosts(record)
        await third._read()
        assert len(third) == 100
        await record.close()
        await other.close()

    asyncio.run(run())
