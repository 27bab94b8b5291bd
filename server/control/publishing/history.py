"""What an environment was: the document of any version, two of them compared, contexts evaluated against one.

    await document_at(tx, environment, 17)                       canonical JSON
    await evaluate_at(desk, environment, 17, contexts, flags)    [{"checkout": {"value": "old", "reason": "SPLIT"}}, …]

A snapshot that is not kept any more is compiled again from its document, with its number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from engine import Evaluation, Snapshot
from server.control.publishing.diff import Change, differences
from server.control.publishing.documents import Document, taken_apart
from server.control.publishing.publish import Desk
from server.control.publishing.refusals import ConflictError
from server.record.database import Transaction
from server.record.history import Version, environment_row, get_version, list_versions
from server.record.versions import document_of, snapshot_of
from server.types import EnvironmentId

MOST_CONTEXTS: Final = 100  # of one request
MOST_ANSWERS: Final = 100_000  # contexts times flags

Context = Mapping[str, Any]


class Answered(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The answer for one flag and one context."""

    value: Any
    variant: str | None
    reason: str
    error_code: str | None = None


async def version_at(tx: Transaction, environment: EnvironmentId, number: int) -> Version:
    """Raises LookupError."""
    version = await get_version(tx, environment, number)
    if version is None:
        raise LookupError(f"there is no version {number} of `{environment}`")
    return version


async def document_at(tx: Transaction, environment: EnvironmentId, number: int) -> bytes:
    """Raises LookupError."""
    version = await version_at(tx, environment, number)
    content = await document_of(tx, environment.project_id, version.document)
    if content is None:
        raise LookupError(f"the document of version {number} is gone")
    return content


async def before(tx: Transaction, environment: EnvironmentId, number: int) -> int:
    """The version before that; 0: there is none."""
    found = await list_versions(tx, environment, below=number, limit=1)
    return found[0].number if found else 0


async def changes_between(tx: Transaction, environment: EnvironmentId, from_: int, to: int) -> tuple[Change, ...]:
    """Version 0 is nothing. Raises LookupError."""
    before, after = [await _taken_apart(tx, environment, number) for number in (from_, to)]
    return differences(before, after, environment.environment)


async def evaluate_at(
    desk: Desk,
    environment: EnvironmentId,
    number: int,
    contexts: Sequence[Context],
    flags: Sequence[str] | None,
    *,
    now: int | None = None,
) -> list[dict[str, Answered]]:
    """Each context's answers, of these flags or all. Raises LookupError, ConflictError."""
    blob = await _snapshot_at(desk, environment, number)
    done = await desk.compiler.run(
        environment.project_id, _evaluate, blob, tuple(contexts), tuple(flags) if flags is not None else None, now
    )
    if done is None:
        raise ConflictError("the contexts could not be evaluated")
    if isinstance(done, str):
        raise ConflictError(done)
    return done


async def explain_at(
    desk: Desk, environment: EnvironmentId, number: int, flag: str, context: Context, *, now: int | None = None
) -> dict[str, Any]:
    """Every rule, condition and operand. Raises LookupError."""
    blob = await _snapshot_at(desk, environment, number)
    done = await desk.compiler.run(environment.project_id, _explain, blob, flag, context, now)
    if done is None:
        raise LookupError(f"there is no flag `{flag}` in version {number}")
    return done


def _evaluate(
    blob: bytes, contexts: tuple[Context, ...], flags: tuple[str, ...] | None, now: int | None
) -> list[dict[str, Answered]] | str:
    snapshot = Snapshot.from_bytes(blob)
    if len(contexts) * len(flags if flags is not None else snapshot) > MOST_ANSWERS:
        return f"contexts times flags may be {MOST_ANSWERS:,} (hint: name the flags)"
    if flags is None:
        return [
            {key: _answered(each) for key, each in snapshot.evaluate_all(context, now=now).items()}
            for context in contexts
        ]
    return [{key: _answered(snapshot.evaluate(key, context, now=now)) for key in flags} for context in contexts]


def _explain(blob: bytes, flag: str, context: Context, now: int | None) -> dict[str, Any] | None:
    snapshot = Snapshot.from_bytes(blob)
    return snapshot.explain(flag, context, now=now).to_dict() if flag in snapshot else None


def _answered(evaluation: Evaluation) -> Answered:
    return Answered(evaluation.value, evaluation.variant, evaluation.reason, evaluation.error_code)


async def _snapshot_at(desk: Desk, environment: EnvironmentId, number: int) -> bytes:
    async with desk.record.look() as tx:
        await environment_row(tx, environment)
        version = await version_at(tx, environment, number)
        blob = await snapshot_of(tx, environment.project_id, version.snapshot)
        content = await document_at(tx, environment, number) if blob is None else b""
    if blob is None:
        blob = (await desk.compiler.check(content, environment, number)).snapshot
    if blob is None:
        raise LookupError(f"version {number} does not compile any more")
    return blob


async def _taken_apart(tx: Transaction, environment: EnvironmentId, number: int) -> Document:
    return taken_apart(await document_at(tx, environment, number)) if number else Document((), {})
