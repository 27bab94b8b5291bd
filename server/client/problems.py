"""What a control plane says when it refuses, as an error with one line for people.

    409 {"title": "…", "detail": "there is a tenant `shop` already", "diagnostics": []}

becomes RefusedError("there is a tenant `shop` already"), with its status, the diagnostics and the problem as it came.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rules_compiler import Diagnostic

PROBLEM = "application/problem+json"


class ControlError(Exception):
    """What was asked was not done, or it is not known; the message says why and what to do."""


class UnreachableError(ControlError):
    """No answer, however often it was tried."""


class RefusedError(ControlError):
    def __init__(self, message: str, status: int, problem: dict[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        try:
            return msgspec.convert(self.problem.get("diagnostics", []), tuple[Diagnostic, ...])
        except msgspec.ValidationError:
            return ()


HINTS = {
    401: "BURGEE_ADMIN_KEY or --key-file; the first one is in admin.key in the state folder",
    412: "see what it is now, and do it again",
}


def refusal(status: int, media_type: str, body: bytes, asked: str) -> RefusedError:
    """The error for an answer that is none of the 2xx. `asked` names the request: `GET /api/v1/tenants`."""
    problem = problem_of(media_type, body)
    if problem is None:
        what = f"{asked} was answered with {status} and no reason (hint: is this the address of a control plane?)"
        return RefusedError(what, status, {})
    message = str(problem.get("detail") or problem.get("title") or f"refused with {status}")
    current = problem.get("current")
    if status == 412 and isinstance(current, dict) and "version" in current:
        message = f"{message}: the newest version is {current['version']}"
    hint = HINTS.get(status)
    if hint and "(hint:" not in message:
        message = f"{message} (hint: {hint})"
    return RefusedError(message, status, problem)


def problem_of(media_type: str, body: bytes) -> dict[str, Any] | None:
    if media_type not in (PROBLEM, "application/json"):
        return None
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
