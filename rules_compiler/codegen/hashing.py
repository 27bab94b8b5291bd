"""The seam to the engine's hashes, so that both sides of a table use one implementation.

    hash64(b"country")   ->   XXH64, seed 0
    id_table([b"u-1", b"u-2"], classes)   ->   (bits, starts, tags, classes), see IdTable in engine/core/format.h
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import xxhash

from rules_compiler.codegen.layout import PHI


def hash64(text: bytes) -> int:
    return xxhash.xxh64_intdigest(text)


def id_table(texts: Sequence[bytes], classes: bytes) -> tuple[int, bytes, bytes, bytes]:
    """`classes`: one uint16 per text. About eight ids a bucket."""
    bits = max(1, min(24, len(texts).bit_length() - 3))
    shift = 64 - bits
    ids = sorted(
        (hash64(text) >> shift, xxhash.xxh64_intdigest(text, PHI), of_id)
        for text, of_id in zip(texts, memoryview(classes).cast("H"), strict=True)
    )
    starts = array("I", bytes(4 * ((1 << bits) + 1)))
    for bucket, _, _ in ids:
        starts[bucket + 1] += 1
    for bucket in range(1 << bits):
        starts[bucket + 1] += starts[bucket]
    return (
        bits,
        starts.tobytes(),
        array("Q", [tag for _, tag, _ in ids]).tobytes(),
        array("H", [of_id for _, _, of_id in ids]).tobytes(),
    )
