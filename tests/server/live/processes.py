"""What a server and the processes it started hold: by the kernel's account of each of them.

descendants(server.process.pid)      ->  {4711: "python", 4712: "python"}
megabytes(server.process.pid)        ->  81.5        memory, of all of them, what they share counted once
"""

from __future__ import annotations

from pathlib import Path


def descendants(pid: int) -> dict[int, str]:
    """The process and all that it or its children started, with their names."""
    parents: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue  # gone meanwhile
        number = int(stat.parent.name)
        names[number] = head.partition("(")[2]
        parents.setdefault(int(rest.split()[1]), []).append(number)
    found, waiting = {}, [pid]
    while waiting:
        each = waiting.pop()
        if each in names:
            found[each] = names[each]
            waiting += parents.get(each, [])
    return found


def megabytes(pid: int) -> float:
    """The proportional set size of the process and its descendants."""
    return sum(_proportional(each) for each in descendants(pid)) / 1024


def descriptors(pid: int) -> int:
    return sum(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in descendants(pid))


def _proportional(pid: int) -> int:
    """KiB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # gone meanwhile
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
