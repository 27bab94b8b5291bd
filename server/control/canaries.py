"""How a canary ends: halted when a host complains of it, promoted when its time is over and nobody did (ADR 0017).

    await Canaries(record, hosts, compiler, feed.changed).run()

A halt is a new version with the document of the live one, for every worker: nobody goes back. The working copy stays as
it is, for whoever mends it. Several control planes may decide at once: the environment's version lets one of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy import select

from server.control.hosts import Hosts
from server.record.audit import Actor, note
from server.record.canaries import Running, all_running, promote_canary
from server.record.database import Record, RecordError
from server.record.locks import lock_tree
from server.record.projects import number_of, touch
from server.record.tables import versions
from server.record.versions import Candidate, StaleError, commit_version, document_of, is_held, next_version
from server.sources.compiling import Compiler
from server.types import ProjectId

LOOK: Final = 0.5  # seconds between two looks, where no host says anything
CANARY: Final = Actor("canary")
HALT: Final = "canary.halt"  # of the audit and of webhooks


class Canaries:
    def __init__(
        self, record: Record, hosts: Hosts, compiler: Compiler, changed: Callable[[ProjectId, int], None]
    ) -> None:
        self._record = record
        self._hosts = hosts
        self._compiler = compiler
        self._changed = changed
        self._log = structlog.get_logger("canary")

    async def run(self) -> None:
        while True:
            try:
                async with self._record.look() as tx:
                    running = await all_running(tx)
            except RecordError as error:
                self._log.debug("canaries wait for the database", why=str(error))
                running = []
            for each in running:
                try:
                    await self._judge(each)
                except RecordError as error:
                    self._log.debug("canaries wait for the database", why=str(error))
                except Exception:  # of one must not keep the others from being judged
                    self._log.exception("a canary could not be decided", environment=str(each.environment))
            await self._hosts.news(LOOK)

    async def _judge(self, canary: Running) -> None:
        reports = self._hosts.canary_reports(canary.environment, canary.number)
        complaint = next((f"{host}: {said.complaint}" for host, said in reports.items() if said.complaint), "")
        if complaint:
            await self.halt(canary, complaint)
        elif time.time() - canary.since >= canary.seconds and not self._hosts.stuck_at(canary.environment.project_id):
            await self._promote(canary)

    async def _promote(self, canary: Running) -> None:
        environment = canary.environment
        async with self._record.change() as tx:
            await lock_tree(tx, *environment)  # as whoever pauses it does: then it is known whether it is held
            if await is_held(tx, environment) or not await promote_canary(tx, environment, canary.number, CANARY):
                return
            number = await touch(tx, environment.project_id)
        self._changed(environment.project_id, number)
        self._log.info("a canary is promoted", environment=str(environment), version=canary.number)

    async def halt(self, canary: Running, why: str) -> bool:
        """Whether it was: not where something else was published meanwhile, or while its environment is held."""
        environment, project = canary.environment, canary.environment.project_id
        async with self._record.look() as tx:
            newest, number = await next_version(tx, environment)
            if newest != canary.number or await is_held(tx, environment):
                return False
            digest = await tx.scalar(
                select(versions.c.document).where(
                    versions.c.tenant == environment.tenant,
                    versions.c.project == environment.project,
                    versions.c.environment == environment.environment,
                    versions.c.number == canary.live,
                )
            )
            document = await document_of(tx, project, digest) if digest else None
        if digest is None or document is None:
            self._log.error(
                "a canary cannot be halted: the document of what is live is gone", environment=str(environment)
            )
            return False
        checked = await self._compiler.check(document, environment, number)
        if checked.snapshot is None:
            self._log.error("a canary cannot be halted: what is live does not compile", environment=str(environment))
            return False
        candidate = Candidate(
            number,
            document,
            digest,
            checked.snapshot,
            checked.digest,
            checked.flags,
            kind="rollback",
            origin=str(canary.live),
            message=f"the canary of version {canary.number} is halted: {why}",
        )
        try:
            async with self._record.change() as tx:
                await commit_version(tx, environment, expected=canary.number, candidate=candidate, by=CANARY)
                details = {"version": canary.number, "why": why, "rollback": number}
                await note(tx, CANARY, HALT, str(environment), details, tenant=environment.tenant)
                told = await number_of(tx, project)
        except StaleError:
            return False  # somebody published meanwhile, which ends it too
        self._changed(project, told)
        self._log.error("a canary is halted", environment=str(environment), version=canary.number, why=why)
        return True
