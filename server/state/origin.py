"""Two small files of the state folder that say what may be installed.

source      "folder", or the id of a record; "nothing" until there is one
hold        while it is there, this host installs nothing, whatever is published: `burgee hold`

Whose version numbers the state folder has: a folder's are milliseconds, a record's begin at 1; they must not mix.
"""

from __future__ import annotations

from pathlib import Path

from server.files import write_atomically

NOTE = "source"
HOLD = "hold"
FOLDER = "folder"
NOTHING = "nothing"


def noted_source(state: Path) -> str:
    """What was filled before there were notes was filled by a folder."""
    try:
        return (state / NOTE).read_text().strip()
    except FileNotFoundError:
        return FOLDER if any(state.glob("journal.*")) else NOTHING
    except (OSError, UnicodeDecodeError):
        return "unreadable"


def note_source(state: Path, source: str) -> None:
    """Raises OSError."""
    write_atomically(state / NOTE, f"{source}\n".encode())
