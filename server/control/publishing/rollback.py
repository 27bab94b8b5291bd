"""An older version's document as a new, higher version.

    await prepare_rollback(desk, environment, to=5, expected=17)      18, with the document of 5

The content was published before, so it needs no approval again; it has to compile, as everything does.
"""

from __future__ import annotations

from server.control.publishing.candidate import basis_of, freeze
from server.control.publishing.documents import taken_apart
from server.control.publishing.publish import Desk, Expected, Prepared, check_current
from server.record.history import get_version
from server.record.versions import document_of
from server.types import EnvironmentId


async def prepare_rollback(
    desk: Desk, environment: EnvironmentId, *, to: int, expected: Expected, message: str = ""
) -> Prepared:
    """Raises LookupError, StaleError, DoesNotCompileError."""
    async with desk.record.look() as tx:
        basis = await basis_of(tx, environment, desk.kept)
        check_current(basis, expected)
        version = await get_version(tx, environment, to)
        content = await document_of(tx, environment.project_id, version.document) if version is not None else None
    if content is None:
        raise LookupError(f"there is no version {to} of `{environment}`")
    document = taken_apart(content)
    frozen = await freeze(
        desk.compiler, basis, document, content=content, kind="rollback", origin=str(to), message=message, gated=False
    )
    return Prepared(frozen, keeps_working_copy=False)
