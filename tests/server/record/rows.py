"""Rows to begin with: tenants, projects and environments, and versions published to them."""

from __future__ import annotations

import hashlib
import time

from sqlalchemy import insert

from engine import Snapshot
from rules_compiler import compile_flags
from server.record.audit import Actor, canonical
from server.record.database import Record, Transaction
from server.record.tables import environments, projects, tenants
from server.record.versions import Candidate, commit_version, next_version
from server.types import EnvironmentId

ALICE = Actor("alice")
PRODUCTION = EnvironmentId("shop", "web", "production")
STAGING = EnvironmentId("shop", "web", "staging")


async def add_environments(tx: Transaction, *names: EnvironmentId) -> None:
    """And their tenants and projects."""
    now = time.time()
    for tenant in dict.fromkeys(each.tenant for each in names):
        await tx.execute(insert(tenants).values(name=tenant, created_at=now))
    for project in dict.fromkeys(each.project_id for each in names):
        await tx.execute(insert(projects).values(tenant=project.tenant, name=project.project, created_at=now))
    for place, each in enumerate(names):
        row = {"tenant": each.tenant, "project": each.project, "name": each.environment}
        await tx.execute(insert(environments).values(**row, place=place, created_at=now))


def document(value: str) -> bytes:
    flag = {"type": "string", "variants": {"a": value, "b": "other"}, "fallthrough": "a"}
    return canonical({"environments": ["production", "staging"], "flags": {"checkout": flag}})


def candidate(environment: EnvironmentId, number: int, value: str) -> Candidate:
    content = document(value)
    blob = compile_flags(content, environment=environment.environment, version=number, flag_set_id=str(environment))
    return Candidate(
        number=number,
        document=content,
        document_digest=hashlib.sha256(content).hexdigest(),
        snapshot=blob,
        snapshot_digest=Snapshot.from_bytes(blob).digest,
        flags=1,
    )


async def publish(record: Record, environment: EnvironmentId, value: str) -> int:
    async with record.look() as tx:
        expected, number = await next_version(tx, environment)
    made = candidate(environment, number, value)
    async with record.change() as tx:
        await commit_version(tx, environment, expected=expected, candidate=made, by=ALICE)
    return number
