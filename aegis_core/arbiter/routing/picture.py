"""The cost-quality curve as a table, and as an SVG that Matplotlib draws.

Every word stands outside the axes, in the legend or at a tick, so that none can cross a line, whatever the data. The
ground is white, so that it is legible on a page of any colour.
"""

# pyright: reportUnknownMemberType=false
# Matplotlib's own types leave the keyword arguments of its drawing methods open.

from __future__ import annotations

import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from io import StringIO
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from aegis_core.arbiter.routing.curve import Curve, cost_of

if TYPE_CHECKING:
    from matplotlib.text import Text
    from numpy.typing import NDArray

SIZE = 9.0, 4.7
"""Inches, of 72 units of the SVG each."""

_MOST_POINTS = 200
_LONGEST_TITLE = 120
_DRAWN: tuple[tuple[str, Any], ...] = (
    ("#0b6e4f", "-"),
    ("#7d828b", (0, (6, 3))),
    ("#c77d1e", (0, (1.5, 2))),
    ("#5b6fb5", (0, (8, 2, 1.5, 2))),
)
"""Colours and dashes, so that lines are told apart without colours, too."""

_INK, _GRID = "#24292f", "#e4e7eb"
_STYLE: dict[str, Any] = {
    "font.size": 10.5, "text.color": _INK, "axes.labelcolor": _INK, "axes.edgecolor": "#57606a",
    "xtick.color": _INK, "ytick.color": _INK, "axes.spines.top": False, "axes.spines.right": False,
    "svg.fonttype": "none",  # words stay words, to be searched and read aloud
    "svg.hashsalt": "aegis",  # the same data give the same file
}  # fmt: skip


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
        row |= {line.name: round(line.curve.quality_at(share) / float(line.curve.quality[-1]), 4) for line in lines}
        rows.append(row)
    return rows


def svg(title: str, lines: Sequence[Line], ratio: float, mark: Mark | None) -> str:
    """The picture of `drawn` as the text of an SVG file."""
    file = StringIO()
    with _style():
        drawn(title, lines, ratio, mark).savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def drawn(title: str, lines: Sequence[Line], ratio: float, mark: Mark | None) -> Figure:
    """Retained quality over cost, both in per cent of always calling the strong model.

    Args:
        title: what was measured on; what does not fit over the picture is left off.
        lines: routers whose strong model has a mean score above 0; the first is the one that matters.
        ratio: a weak call's cost over a strong one's, below 1.
        mark: the setting to point out.
    """
    with _style():
        figure = Figure(SIZE, dpi=72, layout="constrained")
        axes = figure.add_subplot()
        for number, (line, (colour, dashes)) in enumerate(zip(lines, cycle(_DRAWN))):
            cost, retained = _points(line.curve, ratio)
            over, width = 2 + len(lines) - number, 2.4 if number == 0 else 1.6
            axes.plot(
                cost, retained, color=colour, linestyle=dashes, linewidth=width, zorder=over, label=_words(line.name)
            )
        if mark:
            told = f"{mark.retained * 100:.1f} % of the quality\nat {mark.cost * 100:.1f} % of the cost"
            axes.plot(
                mark.cost, mark.retained, "o", color=_DRAWN[0][0], markersize=9, markeredgecolor="white",
                markeredgewidth=1.5, zorder=len(lines) + 3, clip_on=False, label=f"{_words(mark.name)}:\n{told}",
            )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_xlabel("cost, in per cent of always calling the strong model")
        axes.set_ylabel("quality, in per cent of the strong model's")
        axes.grid(color=_GRID)
        axes.xaxis.set_major_locator(MultipleLocator(0.2))
        axes.xaxis.set_minor_locator(MultipleLocator(0.1))
        axes.yaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10]))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value * 100:.10g} %")
        legend = axes.legend(
            loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0, frameon=False, handlelength=2.6,
            labelspacing=0.9,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)
        heading = figure.suptitle(
            _words(title), x=0.01, horizontalalignment="left", fontweight="bold", fontsize=11.5, parse_math=False
        )
        _shorten(heading, figure)
        figure.draw_without_rendering()
    return figure


@contextmanager
def _style() -> Generator[None]:
    """The same picture whatever the user's own settings are; a letter that the font lacks is the viewer's to draw."""
    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
        yield


def _points(curve: Curve, ratio: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cost and retained quality, thinned to what a picture can show."""
    last = len(curve.shares) - 1
    shown = np.unique(np.linspace(0, last, min(last, _MOST_POINTS) + 1).round().astype(np.intp))
    shares = curve.shares[shown]
    return shares + (1 - shares) * ratio, curve.quality[shown] / curve.quality[-1]


def _shorten(text: Text, figure: Figure) -> None:
    """Leave off what would reach beyond the picture."""
    words = text.get_text()[:_LONGEST_TITLE]
    whole = words == text.get_text()
    while words:
        text.set_text(words if whole else f"{words}…")
        if text.get_window_extent().x1 <= figure.bbox.x1:
            return
        words, whole = words[:-1], False


def _words(text: str) -> str:
    """As XML may hold it: control characters and halves of characters may not be there, even escaped."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
