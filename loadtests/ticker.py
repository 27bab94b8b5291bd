"""Wakes an event loop at a moment, to some ten microseconds: libuv's own timers know whole milliseconds only.

    ticker = Ticker(loop, send_what_is_due)
    ticker.arm(time.monotonic() + 0.00025)

A timerfd, by ctypes: `os.timerfd_create` came with Python 3.13.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from contextlib import suppress

_MONOTONIC, _ABSOLUTE, _NONBLOCK = 1, 1, os.O_NONBLOCK | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


class _Moments(ctypes.Structure):  # struct itimerspec
    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Ticker:
    def __init__(self, loop: asyncio.AbstractEventLoop, tick: Callable[[], None]) -> None:
        self._fd: int = _libc.timerfd_create(_MONOTONIC, _NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._loop = loop
        self._tick = tick
        self._moments = _Moments(0, 0, 0, 0)
        self._reference = ctypes.byref(self._moments)
        loop.add_reader(self._fd, self._woken)

    def arm(self, when: float) -> None:
        """`when` in seconds of time.monotonic(); a moment that is past wakes at once."""
        whole = int(when)
        self._moments.seconds = whole
        self._moments.nanoseconds = int((when - whole) * 1e9)
        _libc.timerfd_settime(self._fd, _ABSOLUTE, self._reference, None)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _woken(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._fd, 8)
        self._tick()
