"""Controls of a few lines of Python around somebody else's C."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

import msgspec

from benchmarks.figures import Loop


def one_call(units: int) -> Loop:
    """What calling any C function from Python costs: msgspec on two bytes."""
    decode = msgspec.json.decode

    def run() -> None:
        for body in repeat(b"{}", units):
            decode(body)

    return Loop("msgspec.json.decode('{}')", run, units)


def decode_and_copy(bodies: Sequence[bytes], answer: bytes) -> Loop:
    """A request read by msgspec, and as many bytes copied as the answer has."""
    decode = msgspec.json.decode

    def run() -> None:
        for body in bodies:
            decode(body)
            bytearray(answer)

    return Loop("msgspec.json.decode + memcpy", run, len(bodies))


def decode_only(body: bytes, units: int = 1) -> Loop:
    decode = msgspec.json.decode
    return Loop("msgspec.json.decode", lambda: decode(body), units)


def map_and_hash(path: Path) -> Loop:
    """A file mapped and its BLAKE2b-256 taken."""

    def run() -> None:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            hashlib.blake2b(mapped, digest_size=32).digest()

    return Loop("mmap + hashlib.blake2b", run)
