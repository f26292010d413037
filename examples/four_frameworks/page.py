"""What the show prints: a line for each payment as it happens, and a table. Or all of it as JSON."""

from __future__ import annotations

import json
from typing import Any

from checks import Audit
from rich.console import Console
from rich.table import Table
from rich.text import Text


class Page:
    """The terminal.

    Args:
        as_json: print one JSON document at the end instead.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._console = Console(highlight=False, quiet=as_json)

    def opening(self, frameworks: list[str], limit: str) -> None:
        """What is about to be seen."""
        self._console.print()
        self._console.print(Text(f"One budget and one wallet for {', '.join(frameworks)}", "bold"))
        self._console.print(
            f"Each runs an agent of its own in a process of its own. They share a team's budget of ${limit} and take "
            "turns on one wallet. The models are scripted. Loading the frameworks takes a while …"
        )

    def happened(self, framework: str, facts: dict[str, Any]) -> None:
        """One report of a process."""
        if "waits" in facts:
            self._line(framework, Text("waits", "cyan"), facts["waits"])
        elif "paid" in facts:
            self._line(framework, Text("paid", "green"), f"with fence {facts['fence']}; {facts['left']} coins left")
        elif "refusal" in facts:
            self._line(framework, Text("refused", "bold red"), facts["refusal"])
        elif "absent" in facts:
            self._line(framework, Text("absent", "yellow"), facts["absent"])
        elif "words" in facts:
            self._line(framework, Text("ended", "bold cyan"), facts["words"])

    def closing(self, found: Audit) -> None:
        """The table, and what was checked."""
        if self._json:
            print(json.dumps(as_facts(found), indent=2))
            return
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("framework")
        for title in ("model calls", "tool calls", "dollars", "refused"):
            table.add_column(title, justify="right")
        table.add_column("fences")
        for row in found.rows:
            counts = (str(row.model_calls), str(row.tool_calls), f"{row.usd:.9f}", str(row.refused))
            table.add_row(row.framework, *counts, " ".join(map(str, row.fences)))
        models, tools, refused = (
            sum(each) for each in zip(*((r.model_calls, r.tool_calls, r.refused) for r in found.rows), strict=True)
        )
        table.add_section()
        table.add_row("all", str(models), str(tools), f"{found.bill:.9f}", str(refused), style="bold")
        self._console.print()
        self._console.print(table)
        self._console.print()
        for holds, words in found.checks:
            self._line("", Text("agrees" if holds else "DIFFERS", "green" if holds else "bold red"), words)

    def _line(self, name: str, word: Text, words: str) -> None:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=9 if name else 0, style="bold")
        grid.add_column(width=7)
        grid.add_column()
        grid.add_row(name, word, Text(words))
        self._console.print(grid)


def as_facts(found: Audit) -> dict[str, Any]:
    """The audit as JSON; money as decimal strings of dollars."""
    return {
        "frameworks": [row.__dict__ | {"usd": str(row.usd)} for row in found.rows],
        "bill_usd": str(found.bill),
        "ledger_usd": str(found.budget.spent_usd),
        "limit_usd": str(found.budget.limit_usd),
        "checks": [{"holds": holds, "words": words} for holds, words in found.checks],
        "sound": found.sound,
    }
