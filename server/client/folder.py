"""The folder of tenants as documents: what `burgee import`, `diff` and `apply` read and `burgee export` writes.

    tenants/shop/web.yaml, tenants/shop/web.keys.yaml

becomes `Project(ProjectId("shop", "web"), Document(("staging", "production"), segments={…}, flags={…}), KeyFile(…))`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from rules_compiler import CompileError, Diagnostic, lint
from rules_compiler.diagnostics import Report
from rules_compiler.reading import read
from server.client.problems import ControlError
from server.client.writing import document_json, document_text, same_document
from server.files import write_atomically
from server.sources import key_file
from server.sources.environments import environments_of
from server.sources.folder import scan
from server.sources.key_file import KeyFile, KeyFileError
from server.types import ProjectId

Definition = dict[str, Any]  # a flag or a segment, as in the document


class FolderError(ControlError):
    """The folder cannot be taken as it is."""


@dataclass(frozen=True, slots=True)
class Document:
    environments: tuple[str, ...]  # in their order
    segments: dict[str, Definition] = field(default_factory=dict)
    flags: dict[str, Definition] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As a flag document says it; without `segments` where there are none."""
        segments = {"segments": self.segments} if self.segments else {}
        return {"environments": list(self.environments), **segments, "flags": self.flags}


@dataclass(frozen=True, slots=True)
class Project:
    id: ProjectId
    path: Path  # of the document
    document: Document
    keys: KeyFile
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def is_good(self) -> bool:
        return all(each.severity != "error" for each in self.diagnostics)

    @property
    def has_warnings(self) -> bool:
        return any(each.severity == "warning" for each in self.diagnostics)


def projects_in(folder: Path) -> Iterator[Project]:
    """Every project, in order; see `Project.is_good`. Raises FolderError for what cannot be read."""
    try:
        listing = scan(folder)
    except OSError as error:
        raise FolderError(f"{folder}: {(error.strerror or 'cannot be read').lower()}") from None
    for tenant, why in listing.unreadable.items():
        raise FolderError(f"{folder / tenant}: {why.lower()}")
    for project, sources in listing.projects.items():
        if len(sources.documents) > 1:
            both = " and ".join(each.path.name for each in sources.documents)
            raise FolderError(f"{folder / project.tenant}: {both} are documents of one project (hint: keep one)")
        keys = _keys_in(sources.keys.path) if sources.keys else KeyFile(())
        if not sources.documents:
            continue  # keys that wait for their document
        path = sources.documents[0].path
        content = _content_of(path)
        found = tuple(lint(content))
        bad = any(each.severity == "error" for each in found)
        yield Project(project, path, Document(()) if bad else document_of(content), keys, found)


def document_of(content: bytes) -> Document:
    """Raises CompileError for what cannot be taken apart."""
    report = Report()
    pieces = read(content, report)
    if pieces is None:
        raise CompileError(report.diagnostics)
    return Document(
        environments_of(content),
        {key: msgspec.json.decode(each) for key, each in pieces.segments.items()},
        {key: msgspec.json.decode(each) for key, each in pieces.flags.items()},
    )


def write_project(folder: Path, project: ProjectId, document: Document, keys: KeyFile | None) -> tuple[Path, ...]:
    """The files that were written: one that says the same already stays, with its comments. Raises OSError."""
    home = folder / project.tenant
    home.mkdir(parents=True, exist_ok=True)
    path = next(
        (found for suffix in (".yaml", ".yml", ".json") if (found := home / f"{project.project}{suffix}").is_file()),
        home / f"{project.project}.yaml",
    )
    written = []
    content = document.as_json()
    if not path.is_file() or not same_document(path.read_bytes(), document_json(content)):
        write_atomically(path, (document_json if path.suffix == ".json" else document_text)(content))
        written.append(path)
    beside = key_file.path_of(folder, project)
    there = _keys_in(beside) if beside.is_file() else KeyFile(())
    if keys is not None and (merged := _merged(there, keys)) != there:
        key_file.write(beside, merged)
        written.append(beside)
    return tuple(written)


def _merged(there: KeyFile, keys: KeyFile) -> KeyFile:
    """A key that the file has too was made when the file says; one that only the file has stays."""
    given = {each.selector: each for each in keys.keys}
    known = tuple(
        msgspec.structs.replace(given.pop(each.selector), created=each.created) if each.selector in given else each
        for each in there.keys
    )
    return KeyFile((*known, *given.values()), keys.origins)


def _content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FolderError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None


def _keys_in(path: Path) -> KeyFile:
    try:
        return key_file.parse(_content_of(path))
    except KeyFileError as error:
        raise FolderError(f"{path}: {error}") from None
