"""What keeps something from being published, as problem details.

    with as_problems():
        raise DoesNotCompileError("the document does not compile: 1 error", diagnostics)

becomes `422 {"type": "urn:burgee:problem:does-not-compile", …, "diagnostics": […]}`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from server.control.api import conditions
from server.control.parts import Parts
from server.control.problems import ProblemError
from server.control.publishing.impact import ImpactError
from server.control.publishing.publish import Desk
from server.control.publishing.refusals import ConflictError, DoesNotCompileError, EditedError, NeedsApprovalError
from server.record.definitions import ExistsError
from server.record.versions import StaleError


def desk_of(parts: Parts) -> Desk:
    return Desk(parts.record, parts.compiler, parts.feed, parts.contexts, parts.metrics, parts.kept)


@contextlib.contextmanager
def as_problems() -> Iterator[None]:
    try:
        yield
    except StaleError as error:
        raise conditions.stale(error.newest, None) from None
    except DoesNotCompileError as error:
        raise ProblemError(422, "does-not-compile", str(error), diagnostics=error.diagnostics) from None
    except EditedError as error:
        raise ProblemError(412, "stale", str(error), current={"revision": error.revision}) from None
    except NeedsApprovalError as error:
        raise ProblemError(409, "needs-approval", str(error)) from None
    except ImpactError as error:
        raise ProblemError(409, "impact", str(error), current=error.impact) from None
    except ConflictError as error:
        raise ProblemError(409, "conflict", str(error)) from None
    except ExistsError:
        raise ProblemError(409, "exists", "it is there already") from None
    except LookupError as error:
        if type(error) is not LookupError:  # a slip of ours
            raise
        raise ProblemError(404, "not-found", str(error)) from None
