"""What members of bodies and answers have in common: names, moments, texts.

checked_name("web")            "web"
moment_of(1795478400.0)        2026-11-24T00:00:00Z
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from server.control.problems import invalid
from server.types import NAME

Name = Annotated[str, Meta(pattern=f"^{NAME}$", max_length=128)]
Title = Annotated[str, Meta(max_length=256)]
Moment = Annotated[datetime, Meta(tz=True)]
Number = Annotated[int, Meta(ge=0)]

Kept = TypeVar("Kept", bound=msgspec.Struct)

_LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)


def checked_name(name: str) -> str:
    """Of what is to be made. It becomes the name of folders and files. Raises ProblemError."""
    if re.fullmatch(NAME, name, re.ASCII) is None or name.startswith(".") or name.endswith(".keys"):
        raise invalid("name", "must not begin with a period, nor end with `.keys`")
    return name


def stored_as(kind: type[Kept], text: str) -> Kept:
    """JSON of the record as a struct. What a newer program wrote besides is passed over, and stays in the record."""
    stored, names = msgspec.json.decode(text), msgspec.structs.fields(kind)
    known = {each.encode_name for each in names}
    return msgspec.convert({name: value for name, value in stored.items() if name in known}, kind)


def moment_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def seconds_of(moment: datetime, place: str) -> float:
    """Of a moment to come. Raises ProblemError."""
    if not datetime.now(UTC) < moment < _LATEST:
        raise invalid(place, "must be a moment to come")
    return moment.timestamp()
