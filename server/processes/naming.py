"""The name of a process as `ps`, `top` and /proc show it."""

from __future__ import annotations

import ctypes

_PR_SET_NAME = 15


def name_process(name: str) -> None:
    """At most 15 bytes; where it cannot be set, it is left."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)
