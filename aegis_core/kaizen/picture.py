"""What a day wasted as bars with their intervals, as an SVG that Matplotlib draws.

Only dollars that were spent are drawn; other currencies are not added to them, nor drawn beside them.
"""

# pyright: reportUnknownMemberType=false
# Matplotlib's own types leave the keyword arguments of its drawing methods open.

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

from aegis_core.protocol.kaizen import Finding, KaizenReport

_INK, _BAR, _COST = "#24292f", "#0b6e4f", "#7d828b"
_STYLE: dict[str, Any] = {
    "font.size": 10.5, "text.color": _INK, "axes.labelcolor": _INK, "axes.edgecolor": "#57606a",
    "xtick.color": _INK, "ytick.color": _INK, "axes.spines.top": False, "axes.spines.right": False,
    "svg.fonttype": "none",  # words stay words, to be searched and read aloud
    "svg.hashsalt": "aegis",  # the same data give the same file
}  # fmt: skip
_LONGEST = 80


def svg(report: KaizenReport) -> str:
    """The findings in dollars spent, the largest lower end on top; grey is what is not called avoidable."""
    found = [each for each in report.findings if each.currency == "spent" and each.state == "found"]
    file = StringIO()
    with drawn_alike():
        _drawn(report, found).savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _drawn(report: KaizenReport, found: list[Finding]) -> Figure:
    figure = Figure((9.0, 1.6 + 0.45 * max(1, len(found))), dpi=72, layout="constrained")
    axes = figure.add_subplot()
    places, amounts = range(len(found)), [float(each.amount_usd or 0) for each in found]
    axes.barh(places, amounts, color=[_BAR if each.avoidable else _COST for each in found], height=0.6)
    for place, (each, amount) in enumerate(zip(found, amounts, strict=True)):
        if each.interval is not None:
            low, high = float(each.interval.low_usd), float(each.interval.high_usd)
            ends = [[max(0.0, amount - low)], [max(0.0, high - amount)]]
            axes.errorbar([amount], [place], xerr=ends, color=_INK, capsize=4, linewidth=1.3)
    axes.set_yticks(places, [_words(each.title) for each in found], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(f"dollars of {float(report.spent_usd):,.2f} spent, with 95 % intervals; grey: a cost, not waste")
    figure.suptitle(
        _words(f"Kaizen {report.day}")[:_LONGEST], x=0.01, horizontalalignment="left", fontweight="bold",
        fontsize=11.5, parse_math=False,
    )  # fmt: skip
    if not found:
        axes.set_yticks([0], ["nothing found"])
    return figure


@contextmanager
def drawn_alike() -> Generator[None]:
    """The same picture whatever the user's own settings are; a letter that the font lacks is the viewer's to draw."""
    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font", category=UserWarning)
        yield


def _words(text: str) -> str:
    """As XML may hold it: control characters and halves of characters may not be there, even escaped."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
