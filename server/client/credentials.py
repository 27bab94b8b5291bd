"""Which admin key to present: one that was given, or the one that a server on this machine keeps for its owner."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

from server.client.problems import ControlError
from server.keys import looks_like_a_key

ADMIN_KEY = "admin.key"  # in the state folder; written by a control plane on its first start


def key_for(url: str, key_file: Path | None, variable: str, state: Path | None) -> str:
    """Raises ControlError. What a server here keeps is for that server: it is never sent to another machine."""
    if key_file is not None:
        return _read(key_file)
    if variable:
        return _checked(variable.strip(), "BURGEE_ADMIN_KEY")
    found = next((path for folder in _folders(state) if (path := folder / ADMIN_KEY).is_file()), None)
    if found is not None and _is_here(url):
        return _read(found)
    where = f"{found} is for a control plane on this machine" if found else "there is no admin key"
    raise ControlError(f"{where} (hint: BURGEE_ADMIN_KEY, or --key-file; --state where the server here keeps its own)")


def _folders(state: Path | None) -> tuple[Path, ...]:
    """As the server chooses its state folder where there is no folder of tenants."""
    if state is not None:
        return (state,)
    if chosen := os.environ.get("STATE_DIRECTORY"):
        return (Path(chosen),)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return (Path(base) / "burgee",)


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path) -> str:
    try:
        return _checked(path.read_text().strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or "cannot be read").lower() if isinstance(error, OSError) else "not a key"
        raise ControlError(f"{path}: {why}") from None


def _checked(key: str, where: str) -> str:
    """Without what was given: it may be another secret."""
    if not looks_like_a_key(key):
        raise ControlError(f"{where}: not a key (hint: burgee_admin_…)")
    return key
