"""Plots as inline SVG: lines over time that need nothing but a browser.

plot("requests a second", [Line("all", [(0, 120.0), (1, 131.0)])], unit="/s")  ->  '<svg …>…</svg>'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 440, 180
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 26, 22
COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706")


@dataclass(frozen=True)
class Line:
    name: str
    points: Sequence[tuple[float, float]]  # seconds since the start, value


def plot(title: str, lines: Sequence[Line], *, unit: str) -> str:
    points = [point for line in lines for point in line.points]
    last = max((at for at, _ in points), default=1.0) or 1.0
    step = _step(max((value for _, value in points), default=1.0))
    top = step * max(1, ceil(max((value for _, value in points), default=1.0) / step))

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * at / last

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text x="{LEFT}" y="14" class="title">{escape(title)} ({escape(unit)})</text>',
    ]
    for count in range(round(top / step) + 1):
        level = y(step * count)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level:.1f}" y2="{level:.1f}" class="grid"/>')
        parts.append(
            f'<text x="{LEFT - 5}" y="{level + 3.5:.1f}" class="tick" text-anchor="end">{step * count:g}</text>'
        )
    across = max(1.0, _step(last))
    for count in range(floor(last / across) + 1):
        at = across * count
        parts.append(f'<text x="{x(at):.1f}" y="{HEIGHT - 7}" class="tick" text-anchor="middle">{at:g} s</text>')
    for place, line in enumerate(lines):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in line.points)
        parts.append(f'<polyline points="{path}" stroke="{colour}" class="line"/>')
        if len(lines) > 1:
            parts.append(
                f'<text x="{WIDTH - RIGHT - 60 * (len(lines) - place - 1)}" y="14" fill="{colour}" class="tick" '
                f'text-anchor="end">{escape(line.name)}</text>'
            )
    return "".join((*parts, "</svg>"))


def _step(highest: float) -> float:
    """A round distance between grid lines, so that there are four or five."""
    if highest <= 0:
        return 1.0
    rough = highest / 4
    unit = float(10 ** floor(log10(rough)))
    return next((unit * each for each in (1, 2, 2.5, 5) if unit * each >= rough), unit * 10)
