"""The tenants that are asked under load: documents and keys in a folder, and a list of the keys for who asks.

    prepare(folder, "edge", "tenants", many=200)
    ->  folder/tenants/edge/app.yaml, …, folder/tenants/t-00000/app.yaml, …    for `burgee serve --tenants`
        folder/keys.json      {"edge": {"server": "burgee_server_…", "client": "burgee_client_…"}, …}

Each answer can be predicted: the flags of benchmarks/flags.py, a flag `who` whose value is the tenant's own name, or
(for reloads) flags that all have the same number for their value.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from benchmarks import flags
from server import keys
from server.files import write_atomically
from server.sources import key_file
from server.sources.key_file import KeyFile, KeyRecord
from server.types import KeyKind, ProjectId

Document = dict[str, Any]

PROJECT = "app"
FLAGS = 20
STEADY = 4  # tenants beside the one that floods
RELOADED = 8  # flags of the document that is rewritten


class Keys(TypedDict):
    server: str
    client: str


def prepare(folder: Path, *groups: str, many: int = 200) -> dict[str, Keys]:
    """Writes the tenants of these groups (of all groups without one), and gives their keys by tenant."""
    made: dict[str, Keys] = {}
    for group in groups or GROUPS:
        for tenant, document in GROUPS[group](many).items():
            made[tenant] = write_tenant(folder / "tenants", tenant, document)
    (folder / "keys.json").write_text(json.dumps(made))
    return made


def write_tenant(tenants: Path, tenant: str, document: Document) -> Keys:
    (tenants / tenant).mkdir(parents=True, exist_ok=True)
    write_document(tenants, tenant, document)
    made = Keys(server=keys.new_key(KeyKind.SERVER), client=keys.new_key(KeyKind.CLIENT))
    records = tuple(
        KeyRecord(
            selector=keys.selector_of(key) or "",
            sha256=keys.digest_of(key).hex(),
            kind=kind,
            environments=("default",),
            created=key_file.now(),
        )
        for key, kind in ((made["server"], KeyKind.SERVER), (made["client"], KeyKind.CLIENT))
    )
    path = key_file.path_of(tenants, ProjectId(tenant, PROJECT))
    path.write_bytes(key_file.render(KeyFile(records)))
    return made


def write_document(tenants: Path, tenant: str, document: Document) -> None:
    """By renaming, so that a server that looks meanwhile finds the old one or the new one."""
    write_atomically(tenants / tenant / f"{PROJECT}.json", json.dumps(document).encode())


def measured() -> Document:
    """The flags of the benchmarks; every second one is for client keys too."""
    document = flags.document(FLAGS)
    for number, flag in enumerate(document["flags"].values()):
        flag["clientVisible"] = number % 2 == 0
    return document


def named(tenant: str) -> Document:
    """`who` is the tenant's name for contexts of plan `known`, `nobody` for others; two more flags keep it company."""
    who = {
        "type": "string",
        "clientVisible": True,
        "variants": {"own": tenant, "none": "nobody"},
        "rules": [{"id": "known", "when": 'plan == "known"', "serve": "own"}],
        "fallthrough": "none",
    }
    return {"flags": {"who": who, **flags.document(2)["flags"]}}


def numbered(number: int) -> Document:
    """Every flag's value is the number, whichever of its rules answers."""

    def flag(place: int) -> Document:
        return {
            "type": "integer",
            "variants": {"ruled": number, "rest": number},
            "rules": [{"id": "some", "when": f"age > {20 + place}", "serve": "ruled"}],
            "fallthrough": "rest",
        }

    return {"flags": {f"number-{place}": flag(place) for place in range(RELOADED)}}


def _many(count: int) -> dict[str, Document]:
    return {name: named(name) for name in (f"t-{number:05d}" for number in range(count))}


def _flood(_: int) -> dict[str, Document]:
    return {name: named(name) for name in ("noisy", *(f"steady-{number}" for number in range(STEADY)))}


GROUPS: Mapping[str, Callable[[int], dict[str, Document]]] = {
    "edge": lambda _: {"edge": measured()},
    "reload": lambda _: {"reloaded": numbered(0)},
    "flood": _flood,
    "tenants": _many,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the tenants of the load tests, and their keys, into a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--group", action="append", choices=list(GROUPS), default=[], help="repeat it; default: all")
    parser.add_argument("--tenants", type=int, default=200, help="how many small ones")
    options = parser.parse_args()
    made = prepare(options.folder, *options.group, many=options.tenants)
    print(f"{len(made)} tenants in {options.folder / 'tenants'}, their keys in {options.folder / 'keys.json'}")
    print(f"burgee serve --tenants {options.folder / 'tenants'}")
    print(f"BURGEE_LOAD={options.folder} locust -f loadtests/locustfile.py --host http://127.0.0.1:8080")


if __name__ == "__main__":
    main()
