"""One changed flag among a thousand: saved, compiled, committed and acknowledged, over HTTP.

    python loadtests/publish.py --flags 1000 --publishes 200 [--database postgresql://…]

Prints the p50 and p99 of saving one flag, of publishing it, and of one publish's parts; and, of the same run and the
same disk, of a control: a transaction that changes one row and is synced.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp import ClientSession, web

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.flags import document  # noqa: E402
from loadtests.table import printed  # noqa: E402
from server import keys as key_texts  # noqa: E402
from server.control.api.frame import BASE  # noqa: E402
from server.control.app import control_plane  # noqa: E402
from server.control.feed import Feed  # noqa: E402
from server.control.parts import Parts  # noqa: E402
from server.control.publishing.candidate import freeze, working_basis  # noqa: E402
from server.control.publishing.kept import KeptDocuments  # noqa: E402
from server.record.audit import Actor  # noqa: E402
from server.record.database import Record, put_value  # noqa: E402
from server.record.keys import NewKey, add_key  # noqa: E402
from server.record.schema import open_migrated  # noqa: E402
from server.sources.compiling import Compiler  # noqa: E402
from server.types import EnvironmentId, KeyKind  # noqa: E402

Result = TypeVar("Result")
ENVIRONMENT = EnvironmentId("shop", "web", "production")
HERE = "/tenants/shop/projects/web"


async def measure(url: str, flags: int, publishes: int, environments: int) -> None:
    record = await open_migrated(url)
    compiler = Compiler(1)
    runner = web.AppRunner(control_plane(Parts(record, Feed(), compiler)))
    try:
        key = await _key(record)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}", headers=_bearer(key)) as session:
            await _fill(session, flags, environments)
            await _report(session, record, compiler, flags, publishes)
    finally:
        await runner.cleanup()
        compiler.close()
        await record.close()


async def _report(session: ClientSession, record: Record, compiler: Compiler, flags: int, publishes: int) -> None:
    whole: dict[str, list[float]] = {"save": [], "publish": [], "control: one row, synced": []}
    names = sorted(document(flags)["flags"])
    publish = f"{HERE}/environments/production/publish"
    version = await _ask(session, "POST", publish, match='"0"')
    before = _cpu()
    for number in range(publishes):
        key = names[number * 7919 % len(names)]
        path = f"{HERE}/flags/{key}"
        async with session.get(BASE + path) as response:
            flag, etag = await response.json(), response.headers["ETag"]
        flag["description"] = f"change {number}"
        flag["rules"][0]["when"] += f' || plan == "p{number}"'
        await _timed(whole["save"], _ask(session, "PUT", path, flag, etag))
        version = await _timed(whole["publish"], _ask(session, "POST", publish, None, version))
        await _timed(whole["control: one row, synced"], _one_row(record, number))
    here, compiling = ((now - then) * 1000 / publishes for then, now in zip(before, _cpu(), strict=True))
    parts: dict[str, list[float]] = {"  read all": [], "  compile and compare": []}
    for _ in range(min(publishes, 20)):
        async with record.look() as tx:
            basis, wanted = await _timed(parts["  read all"], working_basis(tx, ENVIRONMENT, KeptDocuments()))
        await _timed(parts["  compile and compare"], freeze(compiler, basis, wanted, kind="publish"))
    print(f"{flags} flags, {publishes} publishes")
    print(f"CPU of a save and a publish: {here:.1f} ms here (the caller included), {compiling:.1f} ms in the compiler")
    lines = [("ms", "p50", "p99")]
    lines += [(name, f"{_at(of, 0.5):.1f}", f"{_at(of, 0.99):.1f}") for name, of in (whole | parts).items()]
    print("\n".join(printed(lines)))


async def _key(record: Record) -> str:
    key = key_texts.new_key(KeyKind.ADMIN)
    row = NewKey(key_texts.selector_of(key) or "", key_texts.digest_of(key).hex(), KeyKind.ADMIN, role="owner")
    async with record.change() as tx:
        await add_key(tx, row, by=Actor("load"))
    return key


async def _fill(session: ClientSession, flags: int, environments: int) -> None:
    await _ask(session, "POST", "/tenants", {"name": "shop"})
    await _ask(session, "POST", "/tenants/shop/projects", {"name": "web"})
    for name in ["production", *(f"other-{each}" for each in range(1, environments))]:
        await _ask(session, "POST", f"{HERE}/environments", {"name": name})
    await _ask(session, "PUT", f"{HERE}/document", {"flags": document(flags)["flags"]}, "*")


async def _ask(session: ClientSession, method: str, path: str, body: object = None, match: str | None = None) -> str:
    """The ETag of the answer."""
    headers = {"Content-Type": "application/json"}
    if match is not None:
        headers["If-Match"] = match
    content = msgspec.json.encode(body) if body is not None else None
    async with session.request(method, BASE + path, data=content, headers=headers) as response:
        if response.status not in (200, 201):
            raise SystemExit(f"{method} {path}: {response.status} {await response.text()}")
        await response.read()
        return response.headers.get("ETag", "")


async def _one_row(record: Record, number: int) -> None:
    async with record.change() as tx:
        await put_value(tx, "load", number)


async def _timed(into: list[float], work: Awaitable[Result]) -> Result:
    began = time.perf_counter()
    done = await work
    into.append((time.perf_counter() - began) * 1000)
    return done


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _at(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def _cpu() -> tuple[float, float]:
    """Seconds of this process, and of the compiler's: what does not depend on who else uses the machine."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    children = [Path(f"/proc/{each.pid}/stat").read_text() for each in multiprocessing.active_children()]
    ticks = sum(sum(map(int, each.rpartition(")")[2].split()[11:13])) for each in children)
    return used.ru_utime + used.ru_stime, ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flags", type=int, default=1000)
    parser.add_argument("--publishes", type=int, default=200)
    parser.add_argument("--environments", type=int, default=1)
    parser.add_argument("--database", help="left out: SQLite in a new folder here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as folder:
        url = given.database or f"sqlite:///{folder}/record.db"
        asyncio.run(measure(url, given.flags, given.publishes, given.environments))


if __name__ == "__main__":
    main()
