"""The keys of one project, beside its document: `<tenants>/<tenant>/<project>.keys.yaml`.

    keys:
      - selector: 4fZ0k9QmX2aPb7Lc
        sha256: 9f86d081…
        kind: server
        environments: [production]
        name: checkout service
        created: 2026-11-22T14:00:00Z
        revoked: 2026-12-01T09:00:00Z      # or expires, or neither
    origins:                               # optional: web pages that may use its client keys
      production: ["https://shop.example"]

becomes `KeyFile((KeyRecord(...),), {"production": ("https://shop.example",)})`. The keys themselves are not in it and
cannot be got back from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import yaml
from msgspec import Meta

from server.files import write_atomically
from server.keys import SELECTOR_CHARACTERS
from server.state.records import KeyGrant
from server.types import NAME, KeyKind, ProjectId

SUFFIX = ".keys.yaml"
LARGEST = 1024 * 1024  # bytes: some 5,000 keys, which take seconds to read

Name = Annotated[str, Meta(pattern=f"^{NAME}$")]
# The zone is required: a time without one means another moment on every host.
Moment = Annotated[datetime, Meta(tz=True)]


class KeyFileError(ValueError):
    """The file is not a key file. The message names the place, never a value: it might be a key in the wrong member."""


class KeyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    selector: Annotated[str, Meta(pattern=f"^[0-9A-Za-z]{{{SELECTOR_CHARACTERS}}}$")]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    kind: KeyKind
    environments: Annotated[tuple[Name, ...], Meta(min_length=1)]
    created: Moment
    name: str = ""
    expires: Moment | None = None
    revoked: Moment | None = None

    def state(self, now: datetime) -> str:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[KeyRecord, ...]
    origins: dict[Name, tuple[str, ...]] = {}  # by environment


def path_of(tenants: Path, project: ProjectId) -> Path:
    return tenants / project.tenant / f"{project.project}{SUFFIX}"


def parse(text: bytes) -> KeyFile:
    """Raises KeyFileError."""
    if len(text) > LARGEST:
        raise KeyFileError(f"more than {LARGEST} bytes")
    try:
        # Every scalar stays the text it is: YAML's own dates and numbers would be read before the types can say what
        # they are, and an alias could make a small file a large one.
        raw = yaml.load(text.decode(), Loader=_Loader)
        file = msgspec.convert(raw, KeyFile, strict=False)
    except UnicodeDecodeError as error:
        raise KeyFileError("not UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise KeyFileError(f"{line}not YAML") from None
    except (yaml.YAMLError, RecursionError):
        raise KeyFileError("not YAML") from None
    except msgspec.ValidationError as error:
        raise KeyFileError(_place_only(str(error))) from None
    seen: set[str] = set()
    for place, each in enumerate(file.keys):
        if each.selector in seen:
            raise KeyFileError(f"keys[{place}].selector: another key has it too")
        seen.add(each.selector)
    for odd in odd_origins(file.origins):
        raise KeyFileError(odd)
    return file


def render(file: KeyFile) -> bytes:
    content = {"keys": [msgspec.to_builtins(each, str_keys=True) for each in file.keys]}
    if file.origins:
        content["origins"] = msgspec.to_builtins(file.origins)
    # PyYAML writes an unescaped NEL as a line break, which is read back as a space.
    printable = all(each.name.isprintable() for each in file.keys)
    return HEADER + yaml.safe_dump(content, sort_keys=False, allow_unicode=printable).encode()


def write(path: Path, file: KeyFile) -> None:
    write_atomically(path, render(file))


def grants(file: KeyFile) -> tuple[KeyGrant, ...]:
    """What the live keys of the file open; revoked ones are left out, expiry is checked when a key is used."""
    return tuple(
        KeyGrant(
            digest=bytes.fromhex(each.sha256),
            selector=each.selector,
            kind=each.kind,
            environments=each.environments,
            expires=each.expires.timestamp() if each.expires else None,
        )
        for each in file.keys
        if each.revoked is None
    )


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


# msgspec makes its notes of a type when it first meets it, and two threads that meet it at once can crash it. This is
# the first time, before there are threads.
msgspec.convert({"keys": []}, KeyFile, strict=False)

HEADER = b"# Written by `burgee keys`. It holds digests of keys, not keys.\n"


# As browsers write it (RFC 6454, section 6.2): lower case, and no port that is the scheme's own.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?", re.ASCII)
_OWN_PORT = {"http": "80", "https": "443"}


def odd_origins(origins: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for environment, listed in origins.items():
        for place, each in enumerate(listed):
            found = _ORIGIN.fullmatch(each)
            where = f"origins.{environment}[{place}]"
            if each != "*" and found is None:
                yield f"{where}: not an origin (hint: `https://www.example.com`, in lower case, without a path, or `*`)"
            elif found is not None and found[1] and found[1] == _OWN_PORT.get(each.partition(":")[0]):
                yield f"{where}: browsers leave out the scheme's own port"


class _Loader(yaml.BaseLoader):
    """Scalars as text, no tags, no aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def _place_only(message: str) -> str:
    """msgspec's message without the value it may quote: `Invalid enum value 'x' - at `$.keys[0].kind``."""
    what, _, place = message.partition(" - at ")
    if what.startswith("Invalid enum value"):
        what = "not one of " + ", ".join(f"`{kind}`" for kind in KeyKind)
    if what.startswith("Object contains unknown field"):
        what = "unknown member"
    where = place.strip("`").removeprefix("$.") or "file"
    return f"{where}: {what[:1].lower()}{what[1:]}"
