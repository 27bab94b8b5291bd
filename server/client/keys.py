"""Keys of a project as its key file says them, and as a control plane does: digests only, never a key.

keys_of(control, ProjectId("shop", "web"), ("staging", "production"))     ->     (KeyRecord(…), …)
key_changes(file, known)     ->     KeyChanges(give=(KeyRecord(…),), revoke=("4fZ0k9QmX2aPb7Lc",))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from server.client.control import Control, path_of
from server.client.problems import ControlError
from server.sources import key_file
from server.sources.key_file import KeyRecord
from server.types import KeyKind, ProjectId

IN_FILES = frozenset({KeyKind.SERVER, KeyKind.CLIENT, KeyKind.EDGE})


@dataclass(frozen=True, slots=True)
class KeyChanges:
    give: tuple[KeyRecord, ...] = ()
    revoke: tuple[str, ...] = ()  # selectors

    def __bool__(self) -> bool:
        return bool(self.give or self.revoke)


def key_changes(wanted: Sequence[KeyRecord], known: Sequence[KeyRecord]) -> KeyChanges:
    """What a key file has that a control plane lacks. One that is revoked or expired opens nothing: it is not given."""
    now = key_file.now()
    there = {each.selector: each for each in known}
    return KeyChanges(
        tuple(each for each in wanted if each.selector not in there and each.state(now) == "active"),
        tuple(
            each.selector
            for each in wanted
            if each.revoked and each.selector in there and there[each.selector].revoked is None
        ),
    )


def keys_of(control: Control, project: ProjectId, environments: Sequence[str]) -> tuple[KeyRecord, ...]:
    """Those of this one project, in the order they were made."""
    listed = control.pages(keys_path(project))
    mine = [each for each in listed if each["project"] == project.project and each["kind"] in IN_FILES]
    if any(each["sha256"] is None for each in mine):
        raise ControlError("digests of keys are for admin keys of role admin or owner (hint: --no-keys)")
    found = (_record(each, environments) for each in mine)
    return tuple(sorted(found, key=lambda each: (each.created, each.selector)))


def change_keys(control: Control, project: ProjectId, changes: KeyChanges) -> None:
    for each in changes.give:
        control.post(keys_path(project), _body(project, each))
    for selector in changes.revoke:
        path = keys_path(project) + path_of(selector)
        control.post(f"{path}/revoke")


def keys_path(project: ProjectId) -> str:
    return path_of("tenants", project.tenant, "keys")


def _record(view: dict[str, Any], environments: Sequence[str]) -> KeyRecord:
    """As the key file has it: there a key of every environment names them all."""
    record: KeyRecord = msgspec.convert(
        {
            "selector": view["selector"],
            "sha256": view["sha256"],
            "kind": view["kind"],
            "environments": view["environments"] or list(environments),
            "created": _seconds(view["createdAt"]),
            "name": view.get("name", ""),
            "expires": _seconds(view["expiresAt"]),
            "revoked": _seconds(view["revokedAt"]),
        },
        KeyRecord,
    )
    return record


def _seconds(moment: str | None) -> datetime | None:
    """Whole ones, as in key files."""
    return datetime.fromisoformat(moment).replace(microsecond=0) if moment is not None else None


def _body(project: ProjectId, key: KeyRecord) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(key)
    expires = {"expiresAt": row["expires"]} if key.expires else {}
    return {
        "kind": row["kind"],
        "project": project.project,
        "environments": row["environments"],
        "name": key.name,
        "selector": key.selector,
        "sha256": key.sha256,
        **expires,
    }
