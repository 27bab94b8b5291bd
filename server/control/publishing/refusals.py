"""Why something is not published: each says what would have to be different. Nothing was changed then.

    raise DoesNotCompileError(diagnostics)

Besides these: ImpactError (impact.py), StaleError (somebody was quicker) and LookupError (there is no such thing).
"""

from __future__ import annotations

from collections.abc import Iterable

from rules_compiler import Diagnostic


class RefusedError(Exception):
    """The message is for people."""


class DoesNotCompileError(RefusedError):
    """The compiler says no, or the environment's lint gate does. Carries every diagnostic."""

    def __init__(self, message: str, diagnostics: Iterable[Diagnostic]) -> None:
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)


class NeedsApprovalError(RefusedError):
    """Others than the author have to agree first."""


class EditedError(RefusedError):
    """The working copy is not at the revision that the caller has seen."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"the working copy was changed meanwhile: its revision is {revision}")
        self.revision = revision


class ConflictError(RefusedError):
    """It is not in a state in which this can be done."""
