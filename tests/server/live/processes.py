"""What a server and the processes it started hold: by the kernel's account of each of them (loadtests/processes.py).

descendants(server.process.pid)      ->  {4711: "burgee", 4712: "burgee-agent"}
megabytes(server.process.pid)        ->  81.5        memory, of all of them, what they share counted once
"""

from __future__ import annotations

from loadtests.processes import tree, usage


def descendants(pid: int) -> dict[int, str]:
    """The process and all that it or its children started, with their names."""
    return {each.pid: each.name for each in tree(pid)}


def megabytes(pid: int) -> float:
    return usage(pid, memory=True).bytes / 2**20


def descriptors(pid: int) -> int:
    return sum(each.descriptors() for each in tree(pid))
