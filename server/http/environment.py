"""Which environment answers: the key's only one, or the one that `Burgee-Environment` names."""

from __future__ import annotations

import time
from typing import NoReturn

from aiohttp import web

from engine import Snapshot
from server.http.authenticate import GRANT
from server.http.cors import check_origin
from server.http.failures import Refused
from server.state.catalog import Catalog, Served
from server.types import EnvironmentId, Grant

HEADER = "Burgee-Environment"


class Asked:
    """The snapshots that answer a request, and how things stood before they did."""

    __slots__ = ("_before", "at")

    def __init__(self) -> None:
        self.at = time.monotonic_ns()
        self._before: dict[Snapshot, int] = {}

    def note(self, served: Served) -> None:
        self._before.setdefault(served.snapshot, served.snapshot.evaluated)

    @property
    def evaluations(self) -> int:
        """Flags that were evaluated since."""
        return sum(snapshot.evaluated - before for snapshot, before in self._before.items())


ASKED = web.RequestKey("asked", Asked)
ENVIRONMENT = web.RequestKey("environment", EnvironmentId)  # the one that is asked, for the access log


def served_for(request: web.Request, catalog: Catalog) -> Served:
    """One frozen reference for the whole request. INVARIANT: it is answered from it without waiting for anything."""
    wanted = _wanted(request)
    check_origin(request, catalog, wanted)
    served = served_of(catalog, wanted)
    request[ASKED] = asked = Asked()
    asked.note(served)
    return served


def served_of(catalog: Catalog, wanted: EnvironmentId) -> Served:
    """Raises Refused."""
    served = catalog.served(wanted)
    return served if served is not None else _not_there(catalog, wanted)


def environment_for(request: web.Request, catalog: Catalog) -> EnvironmentId:
    """One that is published, whether or not its snapshot is at hand."""
    wanted = _wanted(request)
    check_origin(request, catalog, wanted)
    return wanted if catalog.published(wanted) is not None else _not_there(catalog, wanted)


def answer_headers(served: Served, catalog: Catalog) -> dict[str, str]:
    return {
        "Cache-Control": "private, no-store",
        "Burgee-Version": served.version,
        "Burgee-Age": str(int(catalog.age_of(served))),
    }


def _not_there(catalog: Catalog, wanted: EnvironmentId) -> NoReturn:
    if catalog.is_gone(wanted):
        raise Refused(403, "the key's environment does not exist any more")
    raise Refused(503, "the environment has not been loaded", code="PROVIDER_NOT_READY", headers={"Retry-After": "1"})


def _wanted(request: web.Request) -> EnvironmentId:
    request[ENVIRONMENT] = wanted = _chosen(request[GRANT], request.headers.getall(HEADER, ()))
    return wanted


def _chosen(grant: Grant, named: list[str] | tuple[str, ...]) -> EnvironmentId:
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
