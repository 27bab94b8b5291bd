"""What the supervisor gives to a process it makes, and how it tells it to go."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass

AGENT, CONTROL = -1, -2  # their slots; workers have 0 …
LEAVE = signal.SIGQUIT  # to a child: finish, then end


def title_of(slot: int) -> str:
    """
    >>> title_of(AGENT), title_of(CONTROL), title_of(1)
    ('agent', 'control', 'worker 1')
    """
    return {AGENT: "agent", CONTROL: "control"}.get(slot, f"worker {slot}")


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a child is given."""

    slot: int
    block: int  # of the shared page
    ready: int  # a descriptor: a byte written to it says that the process does its work
    alive: int  # a descriptor that ends when the supervisor does


def leave_with(alive: int, stop: asyncio.Event) -> None:
    """Sets `stop` when the supervisor has ended."""
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(alive)  # it stays readable
        stop.set()

    loop.add_reader(alive, gone)
