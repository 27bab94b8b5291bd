"""A table for a terminal: the first column to the left, the others to the right.

printed([("", "p99"), ("edge", "1.2")])  ->  ["      p99", "edge  1.2"]
"""

from __future__ import annotations

from collections.abc import Sequence


def printed(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join((line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:]))).rstrip() for line in lines]
