"""What differs between two documents: of the working copy whole, or of one environment as it is evaluated there.

The control plane says it in the same words, of drafts and promotions (server/control/publishing/diff.py).
"""

from __future__ import annotations

from server.client.folder import Definition, Document
from server.control.publishing import documents
from server.control.publishing.diff import Change, differences
from server.control.publishing.documents import Part, packed
from server.record.definitions import FLAG, SEGMENT, Kind

NOTHING = Document(())


def between(before: Document, after: Document, environment: str | None = None) -> tuple[Change, ...]:
    return differences(_in_parts(before), _in_parts(after), environment)


def _in_parts(document: Document) -> documents.Document:
    parts = {**_packed(FLAG, document.flags), **_packed(SEGMENT, document.segments)}
    return documents.Document(document.environments, parts)


def _packed(kind: Kind, definitions: dict[str, Definition]) -> dict[Part, bytes]:
    return {(kind, key): packed(body) for key, body in definitions.items()}
