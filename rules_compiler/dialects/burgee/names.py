"""Names and attribute paths, as the documents write them.

    account.id   ->  ("account", "id")

Names are those of flags, variants, segments, rules and environments; attributes may be called anything.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from rules_compiler import limits
from rules_compiler.diagnostics import Report, shown
from rules_compiler.dialects.burgee.scope import like

_NAME: Final = re.compile(limits.NAME)


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def check_name(name: str, what: str, place: str, report: Report) -> bool:
    if is_name(name):
        return True
    hint = "letters, digits, `.`, `_` and `-`, at most 128"
    report.error("B110", place, f"{shown(name)} is not a name for {what}", hint=hint)
    return False


def check_names(overridden: Collection[str], environments: Collection[str], place: str, report: Report) -> None:
    """Environments that a flag or a segment overrides something in must be listed."""
    for name in overridden:
        if name not in environments:
            hint = like(name, environments) or "list it under `environments` at the top of the document"
            report.error("B116", f"{place}.environments", f"unknown environment {shown(name)}", hint=hint)


def overridden_place(place: str, environment: str, member: str) -> str:
    return f"{place}.environments.{environment}.{member}"


def path_of(text: str, place: str, report: Report) -> tuple[str, ...]:
    """The path of an attribute such as `account.id`; whatever it has in it, as long as no part is empty."""
    path = tuple(text.split("."))
    if not all(path):
        hint = "as `targetingKey` or `account.id`"
        report.error("B115", place, f"{shown(text)} is not the path of an attribute", hint=hint)
    elif len(path) > limits.PATH_MEMBERS:
        report.error("B517", place, f"a context is at most {limits.PATH_MEMBERS} levels deep")
    return path
