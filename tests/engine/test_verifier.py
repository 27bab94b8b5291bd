"""No blob, however broken, crashes or hangs the engine: it is refused, or it is harmless.

Every mutation gets a right digest again, so that it is the verifier that is tested and not BLAKE2b. 3,000 mutations by
default, 100,000 with BURGEE_PROFILE=nightly, and the same under the sanitizers with `make sanitize`.
"""

from __future__ import annotations

import os
import random
import struct
from hashlib import blake2b
from pathlib import Path

import msgspec
import pytest

from engine import Snapshot, SnapshotError
from rules_compiler import compile_flags
from tests.engine.environments import EVERYTHING

MUTATIONS = 100_000 if os.environ.get("BURGEE_PROFILE") == "nightly" else 3_000
SHARES = 10
DIGEST, DIGEST_END, FIRST_EXTENT, SECTIONS = 24, 56, 112, 35

BLOB = compile_flags(EVERYTHING, version=17, flag_set_id="acme/shop/production")
CONTEXTS = [
    {},
    {"targetingKey": "u-1", "country": "DE", "app": {"version": "2.3.0-rc.10"}, "account": {"id": 7}, "beta": True},
    {"targetingKey": 17, "email": "a@example.com", "plan": "beta", "address": "10.1.2.3", "name": "GRün", "age": 17},
    {
        "cart": [{"sku": "x-1", "price": 10}, {"sku": None}, 3],
        "tags": ["vip"],
        "created": "2025-12-31T23:59:59Z",
        "app": 3,
    },
    {
        "email": "root@h.test",
        "created": 1e9,
        "address": "2001:db8::1",
        "account": {"id": "a"},
        "name": 3,
        "tags": [[], {}],
    },
]
BODIES = [msgspec.json.encode({"context": context}) for context in CONTEXTS]
BATCHES = [
    msgspec.json.encode({"contexts": CONTEXTS, "format": "compact"}),
    msgspec.json.encode({"contexts": CONTEXTS, "flags": ["checkout", "limits", "none"]}),
]


def sealed(blob: bytearray) -> bytes:
    """With the digest of what it holds now."""
    blob[DIGEST:DIGEST_END] = blake2b(memoryview(blob)[DIGEST_END:], digest_size=32).digest()
    return bytes(blob)


def extents(blob: bytes) -> list[tuple[int, int]]:
    return [struct.unpack_from("<II", blob, FIRST_EXTENT + 8 * i) for i in range(SECTIONS)]


def exercise(blob: bytes) -> bool:
    """Load and use it in every way; False if it was refused."""
    try:
        snapshot = Snapshot.from_bytes(blob)
    except SnapshotError:
        return False
    now = 1_800_000_000_000
    for context, body in zip(CONTEXTS, BODIES, strict=True):
        for key in snapshot.flag_keys:
            snapshot.evaluate(key, context, now=now)
        prepared = snapshot.prepare(context)
        snapshot.evaluate_all(prepared, now=now)
        snapshot.evaluate_all(prepared)
        snapshot.evaluate_json(body, now=now)
        snapshot.evaluate_json(body, client=True)
        snapshot.evaluate_json_if_changed(body, None, stale=90)
        for key in snapshot.flag_keys:
            snapshot.evaluate_json(body, key, now=now)
            snapshot.evaluate_json(body, key, now=now, stale=90)
        snapshot.start_counting()  # from the second context on
    for batch in BATCHES:
        snapshot.evaluate_batch(batch, now=now)
        snapshot.evaluate_batch(batch, now=now, stale=90)
    snapshot.take_counts()
    try:
        for key in snapshot.flag_keys:
            snapshot.explain(key, CONTEXTS[1], now=now)
        snapshot.describe()
    except SnapshotError:
        pass
    return True


def test_the_blob_itself_is_taken() -> None:
    assert exercise(BLOB)
    assert extents(BLOB)[-1][0] + extents(BLOB)[-1][1] == len(BLOB)


@pytest.mark.parametrize("share", range(SHARES))
def test_mutations(share: int) -> None:
    rng = random.Random(share)
    places = [(offset, length) for offset, length in extents(BLOB)[:-1] if length]  # the source map is zlib's to refuse
    taken = 0
    for _ in range(MUTATIONS // SHARES):
        blob = bytearray(BLOB)
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            offset, length = rng.choice([*places, (DIGEST_END, FIRST_EXTENT - DIGEST_END + 8 * SECTIONS)])
            width = rng.choice([1, 2, 4, 8])
            at = offset + rng.randrange(length)
            at -= at % width
            value = rng.choice(
                [0, 1, 2, 0xFF, 0xFFFF, 0x7FFF, 0x8000, 0xFFFFFFFF, 0x7FFFFFFF, 2**64 - 1, rng.getrandbits(64)]
            )
            if rng.random() < 0.3:
                value = int.from_bytes(blob[at : at + width], "little") + rng.choice([-1, 1, 8, -8])
            blob[at : at + width] = (value % 2 ** (8 * width)).to_bytes(width, "little")[: len(blob) - at]
        taken += exercise(sealed(blob))
    assert taken > MUTATIONS // SHARES // 20  # enough of them load for their evaluation to be tested, too


def test_altered_without_a_new_digest() -> None:
    blob = bytearray(BLOB)
    blob[len(blob) // 2] ^= 1
    with pytest.raises(SnapshotError, match="the digest does not match"):
        Snapshot.from_bytes(bytes(blob))


@pytest.mark.parametrize("length", [0, 1, 7, 8, 15, 16, 55, 56, 399, 400, 401, 1000])
def test_torn(length: int) -> None:
    with pytest.raises(SnapshotError):
        Snapshot.from_bytes(BLOB[:length])
    if length >= DIGEST_END:
        with pytest.raises(SnapshotError, match="truncated"):
            Snapshot.from_bytes(sealed(bytearray(BLOB[:length]).ljust(500, b"\0")))


def test_another_format_version_is_named() -> None:
    blob = bytearray(BLOB)
    blob[8] = 9
    with pytest.raises(SnapshotError, match="format version 9; this engine reads 1"):
        Snapshot.from_bytes(sealed(blob))


def test_not_a_snapshot() -> None:
    for blob in (b"", b"\0" * 5000, b"BURGEE\n" + b"\0" * 500, BLOB.replace(b"\r\n", b"\n", 1)):
        with pytest.raises(SnapshotError, match="not a snapshot"):
            Snapshot.from_bytes(blob)


def test_mapped(tmp_path: Path) -> None:
    path = tmp_path / "production.burgee"
    path.write_bytes(BLOB)
    mapped = Snapshot.map(path)
    assert mapped.digest == Snapshot.from_bytes(BLOB).digest
    path.unlink()  # what is mapped stays
    assert mapped.evaluate("constant", {}).value == "A"
    path.write_bytes(b"")
    with pytest.raises(SnapshotError, match="empty"):
        Snapshot.map(path)
    with pytest.raises(FileNotFoundError):
        Snapshot.map(tmp_path / "absent")


def test_fields_that_would_lead_outside() -> None:
    """Each u32 of each section in turn set to its largest value: refused or harmless."""
    for offset, length in extents(BLOB)[1:-1]:
        for at in range(offset, offset + min(length, 256), 4):
            blob = bytearray(BLOB)
            blob[at : at + 4] = b"\xff\xff\xff\xff"
            exercise(sealed(blob))
