"""The seam to the engine's hashes, so that both sides of a table use one implementation.

hash64(b"country")   ->   XXH64, seed 0
id_table([b"u-1", b"u-2"], classes)   ->   (bits, starts, tags, classes), see IdTable in engine/core/format.h
"""

from engine.snapshot import hash64, id_table

__all__ = ["hash64", "id_table"]
