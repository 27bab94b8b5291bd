"""API keys: how they are made, recognised as such, and digested. Only the digest is ever stored.

    burgee_server_4fZ0k9QmX2aPb7Lc_<43 characters of secret><6 of checksum>

The selector names the key in logs and commands. The checksum (CRC-32 of all before it) lets junk be refused without a
lookup and lets secret scanners recognise a leak. What a key may do is in its stored record, not in its text.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

from server.types import KeyKind

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
SELECTOR_CHARACTERS = 16  # 95 bits: distinct without asking anybody
SECRET_CHARACTERS = 43  # 256 bits, so that one SHA-256 is hash enough
CHECKSUM_CHARACTERS = 6  # 62^6 > 2^32
LONGEST = len("burgee_server_") + SELECTOR_CHARACTERS + 1 + SECRET_CHARACTERS + CHECKSUM_CHARACTERS

_FORMAT = re.compile(
    rf"burgee_(?:{'|'.join(KeyKind)})_[0-9A-Za-z]{{{SELECTOR_CHARACTERS}}}"
    rf"_[0-9A-Za-z]{{{SECRET_CHARACTERS + CHECKSUM_CHARACTERS}}}",
    re.ASCII,
)


def new_key(kind: KeyKind) -> str:
    return assemble(kind, _random(SELECTOR_CHARACTERS), _random(SECRET_CHARACTERS))


def assemble(kind: KeyKind, selector: str, secret: str) -> str:
    stem = f"burgee_{kind}_{selector}_{secret}"
    return stem + _checksum(stem)


def looks_like_a_key(text: str) -> bool:
    """By its shape alone; quick, and enough for one that is then found by its digest."""
    return len(text) <= LONGEST and _FORMAT.fullmatch(text) is not None


def selector_of(key: str) -> str | None:
    """The selector, or None when the text cannot be a key: wrong shape or wrong checksum."""
    if not looks_like_a_key(key) or _checksum(key[:-CHECKSUM_CHARACTERS]) != key[-CHECKSUM_CHARACTERS:]:
        return None
    return key.split("_")[2]


def digest_of(key: str) -> bytes:
    """32 bytes; what is stored, and what a presented key is looked up by."""
    return hashlib.sha256(key.encode("ascii")).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(stem: str) -> str:
    rest, out = zlib.crc32(stem.encode("ascii")), ""
    for _ in range(CHECKSUM_CHARACTERS):
        rest, digit = divmod(rest, len(ALPHABET))
        out = ALPHABET[digit] + out
    return out
