"""Which Burgee this is, as its distribution says."""

from __future__ import annotations

import importlib.metadata

DISTRIBUTION = "burgee"


def version() -> str:
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "0+checkout"  # run from a checkout that nobody installed
