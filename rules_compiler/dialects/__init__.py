"""Front ends: one package for each way of writing flags, each turning its documents into the same `ir.Environment`.

source = READERS["burgee"](document, report)      a document, taken apart once
source.environment("production", report)          what one snapshot is compiled from
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from rules_compiler import ir
from rules_compiler.diagnostics import Report
from rules_compiler.dialects import burgee


class Source(Protocol):
    """A document that could be taken apart."""

    @property
    def environments(self) -> tuple[str, ...]:
        """The names of its environments, in the order written; at least one."""

    def environment(self, name: str | None, report: Report) -> ir.Environment | None:
        """None when the report has errors. `None` names the only environment. Raises nothing.

        A flag or segment that is the same as in an earlier call, for whatever document, is the same object.
        """

    def line_of(self, place: str) -> int | None:
        """Where the document has lines: that of a place."""


Reader = Callable[[bytes | Mapping[str, Any], Report], Source | None]

READERS: Final[Mapping[str, Reader]] = {"burgee": burgee.read_source}
