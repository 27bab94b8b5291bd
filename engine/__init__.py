"""The engine: given a snapshot, a context and a time: which variant, and why. No sockets, no logging.

>>> from engine import Snapshot
>>> snapshot = Snapshot.map("production.burgee")
>>> snapshot.evaluate("checkout", {"targetingKey": "u-1", "country": "DE"}).variant
'new'
"""

from engine.explain import Explanation
from engine.snapshot import (
    Evaluation,
    PreparedContext,
    Snapshot,
    SnapshotError,
    bucket_of,
    error_code_of,
    hash64,
)

__all__ = [
    "Evaluation",
    "Explanation",
    "PreparedContext",
    "Snapshot",
    "SnapshotError",
    "bucket_of",
    "error_code_of",
    "hash64",
]
