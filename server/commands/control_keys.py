"""Keys of a control plane, as `burgee keys` makes, lists and revokes them: of a project, a tenant or the instance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from server.client.control import path_of
from server.commands.control import REFUSED, asking
from server.commands.output import err, fail, print_json, print_table

ROLES = ("viewer", "editor", "admin", "owner")


@dataclass(frozen=True, slots=True)
class NewKey:
    kind: str
    tenant: str | None  # None: of the instance
    project: str | None  # None: of the whole tenant
    environments: tuple[str, ...]  # none: every one
    name: str
    expires: datetime | None
    role: str | None

    def as_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "kind": self.kind,
            "project": self.project,
            "environments": self.environments,
            "name": self.name,
            "expiresAt": self.expires.isoformat().replace("+00:00", "Z") if self.expires else None,
            "role": self.role,
        }
        return {name: value for name, value in body.items() if value}


def make(key: NewKey, *, as_json: bool) -> None:
    with asking(as_json=as_json) as control:
        made = control.post(_path(key.tenant), key.as_json()).body
    if made["key"] is None:
        # The first answer was lost on its way, and the one that is kept for it has no secret.
        why = f"the key {made['selector']} was made, but the answer with it was lost"
        fail(f"{why} (hint: revoke that one, and make another)", as_json=as_json, code=REFUSED)
    if as_json:
        print_json({"ok": True, **made})
        return
    where = f"{key.tenant or 'the instance'}{f'/{key.project}' if key.project else ''}"
    named = f" ({', '.join(key.environments)})" if key.environments else ""
    err().print(f"a {key.kind} key for {where}{named}, kept as a digest; it is shown only now:", markup=False)
    click.echo(made["key"])


def show(tenant: str | None, project: str | None, *, as_json: bool) -> None:
    with asking(as_json=as_json) as control:
        listed = [each for each in control.pages(_path(tenant)) if project is None or each["project"] == project]
    if as_json:
        print_json(listed)
        return
    if not listed:
        err().print("there are no keys (hint: `burgee keys new` makes one)", markup=False)
        return
    columns = ("selector", "kind", "role", "project", "environments", "name", "created", "state")
    print_table(
        columns,
        (
            (
                each["selector"],
                each["kind"],
                each["role"],
                each["project"],
                ", ".join(each["environments"]),
                each["name"],
                each["createdAt"],
                each["state"],
            )
            for each in listed
        ),
    )


def revoke(tenant: str | None, selector: str, *, as_json: bool) -> None:
    path = _path(tenant) + path_of(selector)
    with asking(as_json=as_json) as control:
        gone = control.post(f"{path}/revoke").body
    if as_json:
        print_json({"ok": True, **gone})
    else:
        err().print(f"key {selector} is revoked", markup=False)


def _path(tenant: str | None) -> str:
    return path_of("tenants", tenant, "keys") if tenant is not None else "/keys"
