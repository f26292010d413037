"""The cost-quality curve as a table and as an SVG, which needs no library and stays sharp at any size."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from aegis_core.arbiter.routing.curve import Curve, cost_of

WIDTH, HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 24, 58, 56
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
        title: what was measured on.
        lines: at most four routers; the first is the one that matters.
        ratio: a weak call's cost over a strong one's, below 1.
        mark: the setting to point out.
    """
    points = {line.name: _points(line.curve, ratio) for line in lines}
    values = [y for each in points.values() for _, y in each] + ([mark.retained] if mark else [])
    low, high = _range(min(values), max(values))
    left, right = _LEFT, WIDTH - _RIGHT
    top, bottom = _TOP, HEIGHT - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * x, bottom - (bottom - top) * (y - low) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        "<style>text { font: 12px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 }</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{left}" y="26" class="title">{escape(title)}</text>',
    ]
    for step in range(11):
        x, _ = place(step / 10, low)
        if step % 2 == 0:
            parts.append(_text(x, bottom + 18, f"{step * 10} %", "middle"))
        parts.append(f'<path d="M{x:.1f} {bottom}v4" stroke="#57606a"/>')
    for value in _ticks(low, high):
        _, y = place(0, value)
        parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="#e4e7eb"/>')
        parts.append(_text(left - 8, y + 4, f"{value * 100:.0f} %", "end"))
    parts.append(f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#57606a"/>')
    parts.append(_text((left + right) / 2, HEIGHT - 14, "cost, of always calling the strong model", "middle"))
    parts.append(
        f'<text transform="translate(16 {(top + bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        "quality, of the strong model's</text>"
    )
    for number, line in reversed(list(enumerate(lines))):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points[line.name]))
        width = 2.6 if number == 0 else 1.6
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{_COLOURS[number]}" stroke-width="{width}" '
            f'stroke-dasharray="{_DASHES[number]}"/>'
        )
    parts += _legend(lines, left, 44)
    if mark:
        x, y = place(mark.cost, mark.retained)
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{_COLOURS[0]}" stroke="#ffffff" stroke-width="2"/>'
        )
        parts.append(_text(x + 8, y + 20, mark.name, "start"))
    return "\n".join([*parts, "</svg>", ""])


def _legend(lines: Sequence[Line], x: float, y: float) -> list[str]:
    parts: list[str] = []
    for number, line in enumerate(lines):
        parts.append(
            f'<path d="M{x:.0f} {y - 4:.0f}h26" stroke="{_COLOURS[number]}" stroke-width="2.4" '
            f'stroke-dasharray="{_DASHES[number]}"/>'
        )
        parts.append(_text(x + 32, y, line.name, "start"))
        x += 50 + 7 * len(line.name)
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _points(curve: Curve, ratio: float) -> list[tuple[float, float]]:
    """Cost and retained quality, thinned to what a picture can show."""
    every = max(1, len(curve.shares) // _MOST_POINTS)
    last = len(curve.shares) - 1
    return [
        (cost_of(share, ratio) or 0.0, quality / curve.quality[-1])
        for at, (share, quality) in enumerate(zip(curve.shares, curve.quality, strict=True))
        if at % every == 0 or at == last
    ]


def _range(low: float, high: float) -> tuple[float, float]:
    """Five-hundredths around all values."""
    return max(0.0, (low * 20 // 1) / 20), -(-high * 20 // 1) / 20 + (0.05 if high * 20 % 1 > 0.9 else 0.0)


def _ticks(low: float, high: float) -> list[float]:
    step = 0.05 if high - low <= 0.5 else 0.1
    count = round((high - low) / step)
    return [low + step * number for number in range(count + 1)]
