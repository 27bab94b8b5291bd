"""The keys of one project, beside its document: `<tenants>/<tenant>/<project>.keys.yaml`.

    keys:
      - selector: 4fZ0k9QmX2aPb7Lc
        sha256: 9f86d081…
        kind: server
        environments: [production]
        name: checkout service
        created: 2026-11-22T14:00:00Z
        revoked: 2026-12-01T09:00:00Z      # or expires, or neither

becomes `KeyFile((KeyRecord(...),))`. The keys themselves are not in it and cannot be got back from it.
"""

from __future__ import annotations

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
    return file


def render(file: KeyFile) -> bytes:
    records = [msgspec.to_builtins(each, str_keys=True) for each in file.keys]
    # PyYAML writes an unescaped NEL as a line break, which is read back as a space.
    printable = all(each.name.isprintable() for each in file.keys)
    return HEADER + yaml.safe_dump({"keys": records}, sort_keys=False, allow_unicode=printable).encode()


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


HEADER = b"# Written by `burgee keys`. It holds digests of keys, not keys.\n"


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
