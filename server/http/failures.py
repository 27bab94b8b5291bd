"""Every answer that is not an evaluation, as JSON in OFREP's words: the exception, its body, and the middleware.

    raise Refused(401, "no key was presented")

becomes `401 {"errorDetails": "no key was presented"}`. A body never repeats what the caller sent, but for the flag key.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

JSON = "application/json"
NO_STORE = {"Cache-Control": "private, no-store"}


class Refused(Exception):
    def __init__(
        self, status: int, details: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(details)
        self.status = status
        self.details = details
        self.code = code
        self.headers = headers or {}

    def within(self, place: str) -> Refused:
        return Refused(self.status, f"{place}: {self.details}", code=self.code, headers=self.headers)


def failure(
    status: int,
    details: str,
    *,
    code: str | None = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    body = {"errorCode": code} if code else {}
    if code and key is not None:
        body["key"] = key
    body["errorDetails"] = details
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type=JSON, headers={**NO_STORE, **(headers or {})}
    )


class AnswerFailures:
    """Turns whatever a handler raises into an answer. Outside every other middleware but the observer."""

    __middleware_version__ = 1

    def __init__(self) -> None:
        self._log = structlog.get_logger("http")

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            key = request.match_info.get("key")
            return failure(refused.status, refused.details, code=refused.code, key=key, headers=refused.headers)
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            return failure(405, f"this path takes {allowed}", headers={"Allow": allowed})
        except web.HTTPException as error:
            return failure(error.status, error.reason.lower())
        except ConnectionError:
            raise  # the caller is gone
        except Exception:
            # The traceback holds nothing of the request: Python prints code, not data, and no handler raises with data.
            self._log.exception("request failed", route=request.match_info.route.name)
            return failure(500, "an internal error; it was logged")
