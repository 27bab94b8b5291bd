"""The one exception inside the front end: a condition, or a part of one, that is refused. It becomes a Diagnostic."""

from __future__ import annotations


class Refused(Exception):
    """Where (an offset in the condition's text), why, and what to do instead."""

    def __init__(self, code: str, at: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.at = at
        self.message = message
        self.hint = hint
