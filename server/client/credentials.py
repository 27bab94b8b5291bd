"""Which admin key to present: one that was given, or the one that a server on this machine keeps for its owner."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from server.client.problems import ControlError
from server.keys import looks_like_a_key
from server.settings import Settings

ADMIN_KEY = "admin.key"  # in the state folder; written by a control plane on its first start


def key_for(url: str, key_file: Path | None, variable: str, state: Path | None) -> str:
    """Raises ControlError. What a server here keeps is for that server: it is never sent to another machine."""
    if key_file is not None:
        return _read(key_file)
    if variable:
        return _checked(variable.strip(), "BURGEE_ADMIN_KEY")
    found = Settings(state=state).state_folder() / ADMIN_KEY
    if not found.is_file():
        raise ControlError(f"there is no admin key, nor {found} (hint: BURGEE_ADMIN_KEY, --key-file, --state)")
    if not _is_here(url):
        raise ControlError(f"{found} is for a control plane on this machine (hint: BURGEE_ADMIN_KEY, --key-file)")
    return _read(found)


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
