"""Which environment answers: the key's only one, or the one that `Burgee-Environment` names."""

from __future__ import annotations

import time
from typing import NamedTuple

from aiohttp import web

from engine import Snapshot
from server.http.authenticate import GRANT
from server.http.failures import Refused
from server.state.catalog import Catalog, Served
from server.types import EnvironmentId, Grant

HEADER = "Burgee-Environment"


class Asked(NamedTuple):
    """The snapshot that answers a request, and how things stood before it did."""

    snapshot: Snapshot
    evaluated: int  # flags, by this process
    at: int  # nanoseconds, monotonic


ASKED = web.RequestKey("asked", Asked)


def served_for(request: web.Request, catalog: Catalog) -> Served:
    """One frozen reference for the whole request. INVARIANT: it is answered from it without waiting for anything."""
    grant = request[GRANT]
    wanted = _wanted(grant, request.headers.getall(HEADER, ()))
    served = catalog.served(wanted)
    if served is not None:
        request[ASKED] = Asked(served.snapshot, served.snapshot.evaluated, time.monotonic_ns())
        return served
    if catalog.is_gone(wanted):
        raise Refused(403, "the key's environment does not exist any more")
    raise Refused(503, "the environment has not been loaded", code="PROVIDER_NOT_READY", headers={"Retry-After": "1"})


def answer_headers(served: Served, catalog: Catalog) -> dict[str, str]:
    return {
        "Cache-Control": "private, no-store",
        "Burgee-Version": served.version,
        "Burgee-Age": str(int(catalog.age_of(served))),
    }


def _wanted(grant: Grant, named: list[str] | tuple[str, ...]) -> EnvironmentId:
    if not named and len(grant.environments) == 1:
        return grant.environments[0]
    if len(named) != 1:
        raise Refused(
            400, f"the key is good for several environments (hint: name one of them in `{HEADER}`)", code="GENERAL"
        )
    wanted = EnvironmentId(*grant.project, named[0])
    if wanted not in grant.environments:
        raise Refused(403, "the key is not good for that environment")
    return wanted
