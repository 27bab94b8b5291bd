"""A document made ready for one environment: compiled with the number it will have, gated, compared with the newest.

    basis     = await basis_of(tx, environment, kept)           newest version 17, the next is 18, what 17 was made of
    candidate = await freeze(compiler, basis, document, …)      snapshot 18, diagnostics, what changes

All that is slow happens here, before the transaction that publishes: see publish.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from rules_compiler import Diagnostic
from server.control.publishing.diff import Change, differences
from server.control.publishing.documents import Document
from server.control.publishing.kept import KeptDocuments
from server.control.publishing.refusals import DoesNotCompileError, EditedError
from server.diagnostics import summary_of
from server.record.canaries import live_beside
from server.record.database import Transaction, epoch_of, next_number
from server.record.definitions import digest_of, environment_names
from server.record.history import environment_row, get_version
from server.record.versions import Candidate, snapshot_of
from server.sources.compiling import Compiler
from server.types import EnvironmentId

DIAGNOSTICS_SHOWN: Final = 1_000


class Rules(msgspec.Struct, frozen=True, rename="camel"):
    """Of an environment's settings, those that publishing heeds."""

    approvals: int = 0  # by others than the author
    lint_gate: Literal["error", "warning", "off"] = "error"  # "warning": a warning keeps it from being published, too
    impact_threshold: float | None = None  # share of contexts, 0 to 1, that one flag may flip for
    sample_contexts: bool = False


@dataclass(frozen=True, slots=True)
class Basis:
    """What a candidate is made against."""

    environment: EnvironmentId
    newest: int
    number: int  # of the next version
    rules: Rules
    published: Document  # of the newest version; without parts where there is none
    snapshot: str  # digest of the newest version's; empty where there is none


@dataclass(frozen=True, slots=True)
class Frozen:
    """INVARIANT: it compiled, and its gate is open."""

    basis: Basis
    candidate: Candidate
    document: Document
    diagnostics: tuple[Diagnostic, ...]  # warnings
    changes: tuple[Change, ...]


async def basis_of(
    tx: Transaction, environment: EnvironmentId, kept: KeptDocuments, *, beside_canary: bool = False
) -> Basis:
    """Raises LookupError. `beside_canary`: what is published is what is live, where the newest is only a canary."""
    row = await environment_row(tx, environment)
    newest, number = row.version, next_number(await epoch_of(tx), row.version)
    rules = rules_of(row.settings)
    live = await live_beside(tx, environment) if beside_canary else None
    project = environment.project_id
    version = await get_version(tx, environment, live or newest) if newest else None
    document = await kept.published(tx, project, version.document) if version is not None else None
    if version is None or document is None:
        return Basis(environment, newest, number, rules, Document(await environment_names(tx, project), {}), "")
    return Basis(environment, newest, number, rules, document, version.snapshot)


async def working_basis(
    tx: Transaction, environment: EnvironmentId, kept: KeptDocuments, *, revision: int | None = None
) -> tuple[Basis, Document]:
    """With the working copy, of the same moment. Raises LookupError, EditedError where it is not at that revision."""
    project = environment.project_id
    basis = await basis_of(tx, environment, kept)
    edited, parts = await kept.working(tx, project)
    if revision is not None and edited != revision:
        raise EditedError(edited)
    return basis, Document(await environment_names(tx, project), parts)


async def freeze(
    compiler: Compiler,
    basis: Basis,
    document: Document,
    *,
    content: bytes | None = None,
    kind: str,
    origin: str = "",
    message: str = "",
    draft: str = "",
    gated: bool = True,
) -> Frozen:
    """Raises DoesNotCompileError. `content`: of the document, where it is at hand; `gated`: heed the lint gate, too."""
    if content is None:
        content = document.content()
    compiling = asyncio.ensure_future(compiler.check(content, basis.environment, basis.number))
    try:
        await asyncio.sleep(0)  # off it goes; what follows is done meanwhile
        changes = differences(basis.published, document, basis.environment.environment)
        digest = digest_of(content)
        checked = await compiling
    finally:
        compiling.cancel()
    if checked.snapshot is None:
        raise DoesNotCompileError(_counted("the document does not compile", checked.diagnostics), checked.diagnostics)
    if gated and basis.rules.lint_gate == "warning" and checked.diagnostics:
        raise DoesNotCompileError(_counted("the lint gate is closed", checked.diagnostics), checked.diagnostics)
    candidate = Candidate(
        number=basis.number,
        document=content,
        document_digest=digest,
        snapshot=checked.snapshot,
        snapshot_digest=checked.digest,
        flags=checked.flags,
        kind=kind,
        origin=origin,
        draft=draft,
        message=message,
    )
    return Frozen(basis, candidate, document, checked.diagnostics[:DIAGNOSTICS_SHOWN], changes)


def rules_of(settings: Mapping[str, Any]) -> Rules:
    return msgspec.convert(settings, Rules)


async def newest_snapshot(tx: Transaction, basis: Basis) -> bytes | None:
    return await snapshot_of(tx, basis.environment.project_id, basis.snapshot) if basis.snapshot else None


def _counted(message: str, diagnostics: tuple[Diagnostic, ...]) -> str:
    return f"{message}: {summary_of(diagnostics)}"
