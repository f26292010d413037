"""The cost-quality curve as a table and as an SVG, which needs no library and stays sharp at any size.

Every word stands outside the axes, in the legend or at a tick, so that none can cross a line, whatever the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import cycle
from typing import NamedTuple

from aegis_core.arbiter.routing.curve import Curve, cost_of

WIDTH = 720
_LEFT, _RIGHT, _BOTTOM = 70, 32, 56
_PLOT = 326
_ROW = 20
_KEY = 32
_LETTER = 7.2
"""Pixels to allow for a letter of 12 pixels; most are narrower."""

_MOST_POINTS = 200
_COLOURS = ("#0b6e4f", "#8a8f98", "#c77d1e", "#5b6fb5")
_DASHES = ("", "6 4", "2 3", "9 3 2 3")


class Line(NamedTuple):
    """A router to draw: its name, and what it attains."""

    name: str
    curve: Curve


class Mark(NamedTuple):
    """One setting: its name, cost (1: always strong), and the share of the strong model's quality that it retains."""

    name: str
    cost: float
    retained: float


def table(lines: Sequence[Line], ratio: float, steps: int = 10) -> list[dict[str, float | str]]:
    """Retained quality of each router at even shares of strong calls, with what the share costs."""
    rows: list[dict[str, float | str]] = []
    for step in range(steps + 1):
        share = step / steps
        row: dict[str, float | str] = {"strong_share": share, "cost": round(cost_of(share, ratio) or 0.0, 4)}
        row |= {line.name: round(quality_at(line.curve, share) / line.curve.quality[-1], 4) for line in lines}
        rows.append(row)
    return rows


def quality_at(curve: Curve, share: float) -> float:
    """The mean score at a share of strong calls, between the points of the curve by a straight line."""
    for at in range(1, len(curve.shares)):
        if curve.shares[at] >= share:
            left, right = curve.shares[at - 1], curve.shares[at]
            part = (share - left) / (right - left)
            return curve.quality[at - 1] + part * (curve.quality[at] - curve.quality[at - 1])
    return curve.quality[-1]


def svg(title: str, lines: Sequence[Line], ratio: float, mark: Mark | None) -> str:
    """Retained quality over cost.

    Args:
        title: what was measured on; what does not fit over the picture is left off.
        lines: at most four routers, whose strong model has a mean score above 0; the first is the one that matters.
        ratio: a weak call's cost over a strong one's, below 1.
        mark: the setting to point out.
    """
    points = {line.name: _points(line.curve, ratio) for line in lines}
    values = [y for each in points.values() for _, y in each] + ([mark.retained] if mark else [])
    least, most = min(values), max(values)
    ticks = _ticks(least, most + (most - least) / 50)  # no line lies on the upper edge
    low, high = ticks[0], ticks[-1]
    legend, top = _legend(lines, mark)
    left, right, bottom = _LEFT, WIDTH - _RIGHT, top + _PLOT
    height = bottom + _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * x, bottom - (bottom - top) * (y - low) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        "<style>text { font: 12px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 }</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{left}" y="26" class="title">{_words(_fitting(title, right - left))}</text>',
        *legend,
    ]
    for step in range(11):
        x, _ = place(step / 10, low)
        if step % 2 == 0:
            parts.append(_text(x, bottom + 18, f"{step * 10} %", "middle"))
        parts.append(f'<path d="M{x:.1f} {bottom}v4" stroke="#57606a"/>')
    for value in ticks:
        _, y = place(0, value)
        parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="#e4e7eb"/>')
        parts.append(_text(left - 8, y + 4, f"{value * 100:.0f} %", "end"))
    parts.append(f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#57606a"/>')
    parts.append(_text((left + right) / 2, height - 14, "cost, of always calling the strong model", "middle"))
    parts.append(
        f'<text transform="translate(16 {(top + bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        "quality, of the strong model's</text>"
    )
    for number, line in reversed(list(enumerate(lines))):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points[line.name]))
        width = 2.6 if number == 0 else 1.6
        parts.append(f'<polyline points="{path}" fill="none" stroke-width="{width}" {_stroke(number)}/>')
    if mark:
        parts.append(_dot(*place(mark.cost, mark.retained)))
    return "\n".join([*parts, "</svg>", ""])


def _legend(lines: Sequence[Line], mark: Mark | None) -> tuple[list[str], int]:
    """A key for each line, in as many rows as they need, and one for the mark; and where the axes may begin below."""
    parts: list[str] = []
    x, y = float(_LEFT), 26 + _ROW
    for number, line in enumerate(lines):
        wide = _KEY + _LETTER * len(line.name)
        if x > _LEFT and x + wide > WIDTH - _RIGHT:
            x, y = float(_LEFT), y + _ROW
        parts.append(f'<path d="M{x:.0f} {y - 4}h26" stroke-width="2.4" {_stroke(number)}/>')
        parts.append(_text(x + _KEY, y, line.name, "start"))
        x += wide + 14
    if mark:
        y += _ROW
        retained, cost = f"{mark.retained * 100:.1f} %", f"{mark.cost * 100:.1f} %"
        text = f"{mark.name}: {retained} of the quality at {cost} of the cost"
        parts += [_dot(_LEFT + 13, y - 4), _text(_LEFT + _KEY, y, text, "start")]
    return parts, y + 14


def _stroke(number: int) -> str:
    dashes = f' stroke-dasharray="{_DASHES[number]}"' if _DASHES[number] else ""
    return f'stroke="{_COLOURS[number]}"{dashes}'


def _dot(x: float, y: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{_COLOURS[0]}" stroke="#ffffff" stroke-width="2"/>'


def _fitting(text: str, width: int) -> str:
    most = int(width / _LETTER)
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_words(text)}</text>'


def _words(text: str) -> str:
    """As XML may hold it: control characters and halves of characters may not be there, even escaped."""
    return escape("".join(letter if letter.isprintable() else " " for letter in text))


def _points(curve: Curve, ratio: float) -> list[tuple[float, float]]:
    """Cost and retained quality, thinned to what a picture can show."""
    every = max(1, len(curve.shares) // _MOST_POINTS)
    last = len(curve.shares) - 1
    return [
        (cost_of(share, ratio) or 0.0, quality / curve.quality[-1])
        for at, (share, quality) in enumerate(zip(curve.shares, curve.quality, strict=True))
        if at % every == 0 or at == last
    ]


def _ticks(low: float, high: float) -> list[float]:
    """Round values around all of these, at most ten."""
    step, grow = 0.05, cycle((2, 2, 2.5))
    while True:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < 10:
            return [step * number for number in range(first, max(last, first + 1) + 1)]
        step *= next(grow)
