"""The folder of tenants: which sources there are, and whether one changed since the last look.

    tenants/shop/web.yaml
    tenants/shop/web.keys.yaml

becomes `Listing({ProjectId("shop", "web"): Sources(documents=(Source(…),), keys=Source(…))}, unreadable={})`.
Names that start with a dot, and whatever is not a document or a key file, are passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from server.sources.key_file import SUFFIX as KEYS_SUFFIX
from server.types import NAME, ProjectId

DOCUMENT_SUFFIXES = (".yaml", ".yml", ".json")

_NAME = re.compile(NAME)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file does, or when it may be read: the change time shows what kept the modification time."""

    modified_ns: int
    changed_ns: int
    size: int
    inode: int


UNKNOWN = Stamp(0, 0, 0, 0)  # of a file that cannot be asked; no file has it


@dataclass(frozen=True, slots=True)
class Source:
    path: Path
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of one project. More than one document is a mistake that is reported, not guessed about."""

    documents: tuple[Source, ...] = ()
    keys: Source | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    projects: dict[ProjectId, Sources] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)  # tenant -> why its folder could not be listed


def scan(tenants: Path) -> Listing:
    """Every project of every tenant. Raises OSError when the folder itself cannot be listed."""
    listing = Listing()
    for tenant in _entries(tenants):
        if not _NAME.fullmatch(tenant.name):
            continue
        try:
            if tenant.is_dir():
                listing.projects.update(_projects_of(tenant.name, tenant.path))
        except OSError as error:
            listing.unreadable[tenant.name] = error.strerror or type(error).__name__
    return listing


def stamp_of(found: os.stat_result) -> Stamp:
    return Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def _projects_of(tenant: str, folder: str) -> dict[ProjectId, Sources]:
    documents: dict[str, list[Source]] = {}
    keys: dict[str, Source] = {}
    for entry in _entries(folder):
        stem, suffix = _split(entry.name)
        if not suffix or not _NAME.fullmatch(stem):
            continue
        try:
            stamp = stamp_of(entry.stat())  # follows links, as a mounted ConfigMap needs
        except FileNotFoundError:
            continue  # gone since it was listed
        except OSError:
            stamp = UNKNOWN  # whoever reads it will say why it cannot be read
        source = Source(Path(entry.path), stamp)
        if suffix == KEYS_SUFFIX:
            keys[stem] = source
        else:
            documents.setdefault(stem, []).append(source)
    return {
        ProjectId(tenant, project): Sources(tuple(documents.get(project, ())), keys.get(project))
        for project in sorted(documents.keys() | keys.keys())
    }


def _entries(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from sorted((each for each in entries if not each.name.startswith(".")), key=lambda each: each.name)


def _split(name: str) -> tuple[str, str]:
    for suffix in (KEYS_SUFFIX, *DOCUMENT_SUFFIXES):
        if name.endswith(suffix):
            return name.removesuffix(suffix), suffix
    return name, ""
