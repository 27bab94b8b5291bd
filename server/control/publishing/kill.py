"""A flag off for everybody in one environment, at once: as it was published, whatever is being edited.

    await prepare_kill(desk, environment, "checkout")      the newest version's document, with checkout off there

A flag that is off gives its off variant, or the caller's own default where it has none. No approval is asked for and no
lint gate: the audit says so. It has to compile. While a canary runs, it is the live version whose flag is put off.
Another variant for everybody is a change like any other, so where approvals are needed it takes an admin.
"""

from __future__ import annotations

from server.control.publishing.candidate import basis_of, freeze
from server.control.publishing.documents import overridden, packed, resolved, unpacked
from server.control.publishing.publish import Desk, Prepared, approvals_text
from server.control.publishing.refusals import NeedsApprovalError
from server.record.definitions import FLAG
from server.types import EnvironmentId


async def prepare_kill(
    desk: Desk,
    environment: EnvironmentId,
    key: str,
    *,
    variant: str | None = None,
    past_approvals: bool = False,
    message: str = "",
) -> Prepared:
    """`variant`: the one that everybody gets, in place of the flag's own off variant; `past_approvals`: wherever.

    Raises LookupError where no such flag is published, NeedsApprovalError, DoesNotCompileError. After a StaleError of
    the commit: again.
    """
    async with desk.record.look() as tx:
        basis = await basis_of(tx, environment, desk.kept, beside_canary=True)
    if variant is not None and basis.rules.approvals and not past_approvals:
        needed = approvals_text(basis.rules.approvals)
        raise NeedsApprovalError(
            f"a variant for everybody needs {needed} in `{environment}`, or an admin (hint: kill without `variant`)"
        )
    body = basis.published.parts.get((FLAG, key))
    if body is None:
        raise LookupError(f"there is no flag `{key}` in what is published of `{environment}`")
    flag, name = unpacked(body), environment.environment
    off = {**resolved(FLAG, flag, name), "enabled": False}
    if variant is not None:
        off["offVariant"] = variant
    document = basis.published.with_parts({(FLAG, key): packed(overridden(FLAG, flag, name, off))})
    frozen = await freeze(desk.compiler, basis, document, kind="kill", origin=key, message=message, gated=False)
    return Prepared(frozen, keeps_working_copy=False)
