"""Everything that is not the answer that was asked for: problem details (RFC 9457), and the middleware that makes them.

    raise ProblemError(409, "exists", "there is a project `web` already")

becomes `409 {"type": "urn:burgee:problem:exists", "title": "Conflict", "status": 409, "detail": "there is …"}`.
A detail may name what is in the path or the name of a thing, never the value of another member: it might be a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from sqlalchemy.exc import DBAPIError

from rules_compiler import Diagnostic
from server.http.failures import NO_STORE, Refused
from server.record.database import RecordUnavailableError
from server.record.failures import told

PROBLEM_JSON: Final = "application/problem+json"
_WAIT = {"Retry-After": "1"}
_PASSING = ("40", "55P", "57")  # SQLSTATE: deadlock, lock timeout, cancelled or shutting down


class DiagnosticOf(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What the compiler says, as in docs/diagnostics.md."""

    code: str
    severity: str
    place: str
    message: str
    hint: str = ""


class ProblemDetails(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    type: str
    title: str
    status: int
    detail: str
    diagnostics: tuple[DiagnosticOf, ...] = ()
    current: Any = None  # of 412: the newest there is


class ProblemError(Exception):
    """`code` is the last word of the problem's type; programs tell problems apart by it."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        diagnostics: Iterable[Diagnostic] = (),
        current: Any = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}
        self.diagnostics = tuple(diagnostics)
        self.current = current


def not_found() -> ProblemError:
    """The same for what is not there and for what the key does not reach."""
    return ProblemError(404, "not-found", "there is nothing here, or not for this key")


def forbidden(detail: str) -> ProblemError:
    return ProblemError(403, "forbidden", detail)


def exists(what: str, name: str) -> ProblemError:
    return ProblemError(409, "exists", f"there is a {what} `{name}` already")


def invalid(place: str, message: str) -> ProblemError:
    """Well-formed, and not what it must be; `place` is as in `quotas.streams`."""
    return ProblemError(422, "invalid", f"{place}: {message}" if place else message)


def response_of(problem: ProblemError) -> web.Response:
    body = ProblemDetails(
        type=f"urn:burgee:problem:{problem.code}",
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        diagnostics=tuple(
            DiagnosticOf(each.code, each.severity, each.place, each.message, each.hint) for each in problem.diagnostics
        ),
        current=problem.current,
    )
    return web.Response(
        status=problem.status,
        body=msgspec.json.encode(body),
        content_type=PROBLEM_JSON,
        headers={**NO_STORE, **problem.headers},
    )


class AnswerProblems:
    """The outermost middleware of the admin API."""

    __middleware_version__ = 1

    def __init__(self) -> None:
        self._log = structlog.get_logger("control")

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except (ProblemError, Refused, web.HTTPException, RecordUnavailableError, DBAPIError) as error:
            problem = _problem_of(error)
            if problem is None:
                return self._internal(request)
            if problem.status == 503:
                self._log.warning("request refused", route=request.match_info.route.name, why=_why(error))
            return response_of(problem)
        except ConnectionError:
            raise  # the caller is gone
        except Exception:
            return self._internal(request)

    def _internal(self, request: web.Request) -> web.Response:
        self._log.exception("request failed", route=request.match_info.route.name)
        return response_of(ProblemError(500, "internal", "an internal error; it was logged"))


def _why(error: Exception) -> str:
    """For the log, without the statement."""
    return str(error.orig if isinstance(error, DBAPIError) else error).partition("\n")[0]


def _problem_of(error: Exception) -> ProblemError | None:
    match error:
        case ProblemError():
            return error
        case Refused():
            code = HTTPStatus(error.status).phrase.lower().replace(" ", "-")
            return ProblemError(error.status, code, error.details, headers=error.headers)
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return ProblemError(405, "method-not-allowed", f"this path takes {allowed}", headers={"Allow": allowed})
        case web.HTTPRequestEntityTooLarge():
            return ProblemError(413, "content-too-large", "the body is too large")
        case web.HTTPNotFound():
            return not_found()
        case web.HTTPException():
            return ProblemError(error.status, "http", error.reason.lower())
        case RecordUnavailableError():
            return ProblemError(503, "unavailable", told(error), headers=_WAIT)
        case DBAPIError() if str(getattr(error.orig, "sqlstate", "")).startswith(_PASSING):
            return ProblemError(503, "unavailable", "the record is busy", headers=_WAIT)
    return None
