"""A proposed policy beside the present one, on the same trace under the same budgets."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from aegis_core.replay.tally import Tally

_ANSWERS = ("granted", "escalated", "rejected")


Present = tuple[str, Tally] | None
"""The present policy's name and what it answered; none: nothing is compared."""


def compared_json(present: Present, after: Tally) -> dict[str, object]:
    """What the present policy answers, and the difference that the proposed one makes, in calls."""
    if present is None:
        return {}
    name, old, new = present[0], present[1].all, after.all
    difference = {answer: getattr(new, answer) - getattr(old, answer) for answer in _ANSWERS}
    return {
        "present": {"policy": name, **{answer: getattr(old, answer) for answer in _ANSWERS}, "difference": difference}
    }


def print_comparison(console: Console, present: Present, after: Tally) -> None:
    """The same for a person."""
    if present is None:
        return
    name, before = present
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    table.add_column("")
    for column in ("present", "proposed", "difference"):
        table.add_column(column, justify="right")
    for answer in _ANSWERS:
        old, new = getattr(before.all, answer), getattr(after.all, answer)
        table.add_row(f"  {answer.upper()}", f"{old:,}", f"{new:,}", f"{new - old:+,}" if new != old else "same")
    console.print(f"[bold]Beside the present policy[/]: {name}")
    console.print(table)
    console.print()
